// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Decorator;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.Cast;

/**
 * Lets no case that is to run in one type run in another: every op of some size has an operand of
 * that type, or no floating one, or is a cast.
 *
 * @param inner what runs the ops
 * @param dtype the type
 */
record OnlyDType(Executor inner, DType dtype) implements Decorator {
  /** Below this, statistics and the features of timesteps may keep f32, as they do in PyTorch. */
  private static final long SMALL = 16384;

  @Override
  public OnlyDType over(Executor other) {
    return new OnlyDType(other, dtype);
  }

  @Override
  public Tensor[] execute(Op op, Tensor... inputs) {
    boolean other = false;
    boolean same = op instanceof Cast;
    for (Tensor t : inputs) {
      same |= t.dtype() == dtype;
      other |= t.dtype().isFloating() && t.numel() >= SMALL;
    }
    if (other && !same) {
      throw new DTypeException(op.name() + " runs on other types than " + dtype.label());
    }
    return inner.execute(op, inputs);
  }
}
