// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.autograd.Autograd;
import io.sfumato.models.nn.BatchShare;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.exec.CheckFinite;
import java.util.List;
import java.util.function.LongFunction;
import org.jspecify.annotations.Nullable;

/** Finds where the first number of a step that is not finite came from. */
final class FirstNonFinite {
  private FirstNonFinite() {}

  /**
   * Looks at the parameters, then does the step again with every result looked at.
   *
   * @param loss what the step gave
   * @param norm of its gradients
   * @param parameters of the model
   * @param first number of the first batch
   * @param count how many batches
   * @param again computes loss and gradients of a batch, with the same random numbers
   */
  static NonFiniteException find(
      double loss,
      double norm,
      List<Parameter> parameters,
      long first,
      int count,
      LongFunction<Autograd.Result> again) {
    String what =
        Double.isFinite(loss)
            ? "the norm of the gradients became " + norm
            : "the loss became " + loss;
    String weight = parameter(parameters);
    for (int i = 0; i < count; i++) {
      String op = op(first + i, again);
      if (op != null) {
        String cause = weight == null ? op : weight + "; seen first by " + op;
        return new NonFiniteException(what, cause, first + i);
      }
    }
    String cause =
        weight != null
            ? weight
            : "computed once more, all numbers are finite: the device or another process gave other"
                + " ones";
    return new NonFiniteException(what, cause, first);
  }

  private static @Nullable String op(long number, LongFunction<Autograd.Result> again) {
    try (Scope scope = Scope.open()) {
      return CheckFinite.with(
          () -> {
            Autograd.Result result = BatchShare.apart(() -> again.apply(number)); // others do not
            return Double.isFinite(result.gradients().norm())
                ? null
                : "the norm of the gradients, whose squares have too large a sum";
          });
    } catch (ArithmeticException e) {
      return e.getMessage();
    }
  }

  private static @Nullable String parameter(List<Parameter> parameters) {
    for (Parameter p : parameters) {
      double[] values = p.value().toDoubleArray();
      int bad = 0;
      int where = -1;
      for (int i = 0; i < values.length; i++) {
        if (!Double.isFinite(values[i])) {
          bad++;
          where = where < 0 ? i : where;
        }
      }
      if (bad > 0) {
        return String.format(
            "parameter %s has %d of %d elements that are not finite, the first is element %d, %s",
            p.name(), bad, values.length, where, values[where]);
      }
    }
    return null;
  }
}
