// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd;

import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Decorator;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.Saved;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * A region that keeps what goes in and is computed again by backward. In the innermost recorder it
 * is one node, whose inputs are the region's arguments and every tracked tensor that it was seen to
 * use: weights, or results from outside. Recorders further out see every op.
 */
final class Checkpoint {
  private final Function<Tensor[], Tensor[]> body;
  private final Tensor[] arguments;
  private final Executor chain;
  private final Recorder recorder;

  private Checkpoint(
      Function<Tensor[], Tensor[]> body, Tensor[] arguments, Executor chain, Recorder recorder) {
    this.body = body;
    this.arguments = arguments;
    this.chain = chain;
    this.recorder = recorder;
  }

  static Tensor[] run(Function<Tensor[], Tensor[]> body, Tensor[] arguments) {
    Executor chain = Executor.current();
    Recorder recorder = Decorator.find(chain, Recorder.class);
    if (recorder == null || recorder.tape().isDry()) {
      return Scope.runAll(() -> body.apply(arguments));
    }
    return new Checkpoint(body, arguments.clone(), chain, recorder).forward();
  }

  private Tensor[] forward() {
    Tape tape = recorder.tape();
    try (Tape dry = Tape.inside(tape, recorder.inner(), true)) {
      Tensor[] results = compute(dry);
      boolean[] depends = new boolean[results.length];
      for (int i = 0; i < results.length; i++) {
        depends[i] = dry.slot(results[i]) >= 0;
        if (tape.slot(results[i])
            >= 0) { // an argument was passed through: give it another identity
          results[i] = Tensor.view(results[i], results[i].layout());
        }
      }
      record(tape, dry.captured(), results, depends);
      return results;
    }
  }

  private void record(Tape tape, List<Tensor> leaves, Tensor[] results, boolean[] depends) {
    List<Tensor> inputs = new ArrayList<>(leaves);
    for (Tensor argument : arguments) {
      if (inputs.stream().noneMatch(t -> t == argument)) {
        inputs.add(argument);
      }
    }
    int[] in = inputs.stream().mapToInt(tape::slot).toArray();
    Tensor[] outputs =
        IntStream.range(0, results.length)
            .filter(i -> depends[i])
            .mapToObj(i -> results[i])
            .toArray(Tensor[]::new);
    if (outputs.length == 0) {
      return;
    }
    Saved all = Saved.inputs(IntStream.range(0, in.length).toArray());
    tape.record(
        "checkpoint",
        context -> pullback(context, depends),
        inputs.toArray(Tensor[]::new),
        in,
        outputs,
        all);
  }

  private @Nullable Tensor[] pullback(Backward context, boolean[] depends) {
    try (Tape again = Tape.inside(recorder.tape(), recorder.inner(), false)) {
      Tensor[] results = compute(again);
      if (results.length != depends.length) {
        throw new IllegalStateException(
            "checkpoint: the region must do the same each time; it gave "
                + depends.length
                + " results in forward and "
                + results.length
                + " in backward");
      }
      @Nullable Tensor[] seeds = new Tensor[results.length];
      int k = 0;
      for (int i = 0; i < results.length; i++) {
        seeds[i] = depends[i] ? context.gradOrNull(k++) : null;
      }
      again.backward(results, seeds, List.of()); // the recorder's tape gets the gradients
      return new Tensor[context.inputs()];
    }
  }

  /** Runs the region with {@code tape} in the place of the recorder's. */
  private Tensor[] compute(Tape tape) {
    Recorder other = new Recorder(tape, recorder.inner());
    Executor replaced = Decorator.replace(chain, recorder, other);
    return Scope.runAll(() -> Executor.with(replaced, () -> body.apply(arguments.clone())));
  }
}
