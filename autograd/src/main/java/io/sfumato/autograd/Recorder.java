// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd;

import io.sfumato.tensor.NotDifferentiableException;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorException;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Composite;
import io.sfumato.tensor.exec.Decorator;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Eager;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.GradientFree;
import io.sfumato.tensor.exec.InPlaceOp;
import io.sfumato.tensor.exec.Op;
import java.util.Arrays;
import java.util.List;

/**
 * Writes ops with tracked inputs on a tape.
 *
 * <p>An op that is {@link Differentiable} becomes a node. One that is only {@link Composite} is
 * computed by the ops it is composed of, which are recorded. {@link InPlaceOp}s are not recorded;
 * if one overwrites what backward needs, backward notices. Ops through which nothing can flow
 * ({@link GradientFree}, or no floating output) give constants. Anything else throws here, at the
 * call.
 *
 * @param tape where to write
 * @param inner what runs the ops
 */
record Recorder(Tape tape, Executor inner) implements Decorator {
  @Override
  public Recorder over(Executor other) {
    return new Recorder(tape, other);
  }

  @Override
  public Tensor[] execute(Op op, Tensor... inputs) {
    int[] in = new int[inputs.length];
    boolean[] needs = new boolean[inputs.length];
    boolean tracked = false;
    for (int i = 0; i < in.length; i++) {
      in[i] = tape.slot(inputs[i]);
      needs[i] = in[i] >= 0;
      tracked |= needs[i];
    }
    if (!tracked || op instanceof InPlaceOp || op instanceof GradientFree) {
      return inner.execute(op, inputs);
    }
    if (op instanceof Differentiable differentiable) {
      Tensor[] out = inner.execute(op, inputs);
      if (Arrays.stream(out).anyMatch(t -> t.dtype().isFloating())) {
        tape.record(
            op.name(), differentiable::backward, inputs, in, out, differentiable.saved(needs));
      }
      return out;
    }
    if (op instanceof Composite composite) {
      return Executor.with(this, () -> Scope.runAll(() -> composite.compose(inputs)));
    }
    if (!hasFloatingOutput(op, inputs)) {
      return inner.execute(op, inputs);
    }
    throw new NotDifferentiableException(
            "a gradient is wanted but this op has no backward; wrap the call in Autograd.noGrad if"
                + " the result is a constant, or use an op that implements Differentiable")
        .in(op.name(), Eager.describe(inputs));
  }

  private static boolean hasFloatingOutput(Op op, Tensor[] inputs) {
    try {
      List<TensorSpec> specs = Arrays.stream(inputs).map(Tensor::spec).toList();
      return op.infer(specs).stream().anyMatch(s -> s.dtype().isFloating());
    } catch (TensorException e) {
      e.in(op.name(), Eager.describe(inputs));
      throw e;
    }
  }
}
