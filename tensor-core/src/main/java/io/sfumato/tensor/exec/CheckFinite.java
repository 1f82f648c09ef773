// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.Tensor;
import java.util.Arrays;
import java.util.function.Supplier;

/**
 * Looks at every result and throws at the first op that makes a NaN or an infinity. Slow: it reads
 * everything back; for hunting only. Minus infinity that came in (masks) may go out.
 *
 * @param inner what runs the ops
 */
public record CheckFinite(Executor inner) implements Decorator {
  /** Runs {@code body} with every result checked. */
  public static <R> R with(Supplier<R> body) {
    return Executor.with(new CheckFinite(Executor.current()), body);
  }

  @Override
  public CheckFinite over(Executor other) {
    return new CheckFinite(other);
  }

  /**
   * Runs the op.
   *
   * @throws ArithmeticException if a result is not finite, with op, inputs and module path
   */
  @Override
  public Tensor[] execute(Op op, Tensor... inputs) {
    Tensor[] out = inner.execute(op, inputs);
    if (op instanceof InPlaceOp inPlace) {
      for (int i : inPlace.mutated()) {
        check(op, "input " + i, inputs[i], inputs);
      }
    } else if (!(op instanceof ViewsOp)) {
      for (int i = 0; i < out.length; i++) {
        check(op, "output " + i, out[i], inputs);
      }
    }
    return out;
  }

  private static void check(Op op, String what, Tensor t, Tensor[] inputs) {
    if (!t.dtype().isFloating()) {
      return;
    }
    double[] values = t.toDoubleArray();
    for (int i = 0; i < values.length; i++) {
      if (!Double.isFinite(values[i]) && !cameIn(values[i], inputs)) {
        throw new ArithmeticException(
            op.name()
                + ": element "
                + i
                + " of "
                + what
                + " is "
                + values[i]
                + source(inputs)
                + "; "
                + Eager.describe(inputs));
      }
    }
  }

  /** Names the first input that is not finite itself: a batch, a weight, or a mask. */
  private static String source(Tensor[] inputs) {
    for (int k = 0; k < inputs.length; k++) {
      if (inputs[k].dtype().isFloating()) {
        double[] values = inputs[k].toDoubleArray();
        for (int i = 0; i < values.length; i++) {
          if (!Double.isFinite(values[i])) {
            return "; input " + k + " came with it: its element " + i + " is " + values[i];
          }
        }
      }
    }
    return "";
  }

  /** Whether {@code value} is minus infinity and an input has it too. */
  private static boolean cameIn(double value, Tensor[] inputs) {
    return value == Double.NEGATIVE_INFINITY
        && Arrays.stream(inputs)
            .filter(t -> t.dtype().isFloating())
            .anyMatch(
                t -> Arrays.stream(t.toDoubleArray()).anyMatch(v -> v == Double.NEGATIVE_INFINITY));
  }
}
