// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.check;

import io.sfumato.autograd.Autograd;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Function;

/**
 * Compares gradients with central differences {@code (φ(x + h d) - φ(x - h d)) / 2h} in f64, where
 * φ is the function's results weighted by fixed random numbers. Small inputs are checked element by
 * element, large ones in random directions d.
 *
 * {@snippet :
 * GradCheck.of(xs -> new Tensor[] {MyOps.swirl(xs[0], xs[1])}).check(a, b).orThrow();
 * }
 *
 * <p>The function must be smooth near the point: no ties of maxima, no kinks within {@code step}.
 *
 * @param function what to differentiate; all results must be floating
 * @param step h, relative to the size of the element (at least 1)
 * @param tolerance largest error, relative to the largest gradient (at least 1)
 * @param elementLimit inputs with more elements are checked in random directions
 * @param directions how many
 * @param seed of weights and directions
 */
public record GradCheck(
    Function<Tensor[], Tensor[]> function,
    double step,
    double tolerance,
    int elementLimit,
    int directions,
    long seed) {

  /** A check with step 1e-5, tolerance 1e-7, up to 400 elements one by one, else 12 directions. */
  public static GradCheck of(Function<Tensor[], Tensor[]> function) {
    return new GradCheck(function, 1e-5, 1e-7, 400, 12, 1);
  }

  /** Another tolerance. */
  public GradCheck tolerance(double relative) {
    return new GradCheck(function, step, relative, elementLimit, directions, seed);
  }

  /** Another step. */
  public GradCheck step(double h) {
    return new GradCheck(function, h, tolerance, elementLimit, directions, seed);
  }

  /**
   * One comparison that failed.
   *
   * @param input number of the input
   * @param where the element, or the direction
   * @param expected what the differences say
   * @param got what backward says
   */
  public record Mismatch(int input, String where, double expected, double got) {
    @Override
    public String toString() {
      return "input "
          + input
          + ", "
          + where
          + ": differences say "
          + expected
          + ", backward says "
          + got;
    }
  }

  /**
   * The outcome.
   *
   * @param comparisons how many were made
   * @param worst the largest error, relative as {@link GradCheck#tolerance} is
   * @param mismatches those above the tolerance
   */
  public record Report(int comparisons, double worst, List<Mismatch> mismatches) {
    /** Whether nothing was above the tolerance. */
    public boolean passed() {
      return mismatches.isEmpty();
    }

    /**
     * Does nothing if the check passed.
     *
     * @throws AssertionError with the first mismatches if it did not
     */
    public void orThrow() {
      if (!passed()) {
        throw new AssertionError(toString());
      }
    }

    @Override
    public String toString() {
      StringBuilder text =
          new StringBuilder()
              .append(mismatches.size())
              .append(" of ")
              .append(comparisons)
              .append(" derivatives differ, the worst by ")
              .append(worst);
      mismatches.stream().limit(8).forEach(m -> text.append("\n  ").append(m));
      return text.toString();
    }
  }

  /**
   * Checks the gradients at a point.
   *
   * @param xs F64 tensors
   * @throws DTypeException if one is not F64
   */
  public Report check(Tensor... xs) {
    for (Tensor x : xs) {
      if (x.dtype() != DType.F64) {
        throw new DTypeException("GradCheck works in f64; got " + x.spec());
      }
    }
    double[][] point = new double[xs.length][];
    double[][] gradients = new double[xs.length][];
    try (Scope scope = Scope.open()) {
      Tensor[] grads = Autograd.grad(this::weighted, xs);
      for (int i = 0; i < xs.length; i++) {
        point[i] = xs[i].toDoubleArray();
        gradients[i] = grads[i].toDoubleArray();
      }
    }
    return compare(xs, point, gradients);
  }

  /** Checks the gradients of the gradients: that backward is itself differentiated correctly. */
  public Report checkSecondOrder(Tensor... xs) {
    return new GradCheck(
            in -> Autograd.grad(this::weighted, in),
            step,
            tolerance,
            elementLimit,
            directions,
            seed + 1)
        .check(xs);
  }

  /** φ(xs): the results, each times fixed random weights, summed. */
  private Tensor weighted(Tensor[] xs) {
    SplittableRandom random = new SplittableRandom(seed);
    Tensor sum = Tensor.of(new double[] {0});
    for (Tensor y : function.apply(xs)) {
      double[] w = random.doubles(y.numel(), -1, 1).toArray();
      Tensor weights = Tensor.of(w, y.dtype(), y.device(), y.shape().dims());
      sum = sum.add(Num.cast(Num.sumTo(y.mul(weights), Shape.SCALAR), DType.F64));
    }
    return sum;
  }

  private Report compare(Tensor[] xs, double[][] point, double[][] gradients) {
    double scale = 1;
    for (double[] g : gradients) {
      for (double v : g) {
        scale = Math.max(scale, Math.abs(v));
      }
    }
    SplittableRandom random = new SplittableRandom(seed + 17);
    List<Mismatch> mismatches = new ArrayList<>();
    int comparisons = 0;
    double worst = 0;
    for (int i = 0; i < xs.length; i++) {
      int n = point[i].length;
      boolean each = n <= elementLimit;
      int count = each ? n : directions;
      for (int k = 0; k < count; k++) {
        double[] d = new double[n];
        if (each) {
          d[k] = 1;
        } else {
          // of unit length, so that the derivative is comparable with the gradient's elements
          double length = Math.sqrt(n / 3.0);
          for (int j = 0; j < n; j++) {
            d[j] = (2 * random.nextDouble() - 1) / length;
          }
        }
        double got = 0;
        for (int j = 0; j < n; j++) {
          got += gradients[i][j] * d[j];
        }
        double h = step * (each ? Math.max(1, Math.abs(point[i][k])) : 1);
        double expected = (phi(xs, point, i, d, h) - phi(xs, point, i, d, -h)) / (2 * h);
        double error = Math.abs(expected - got) / scale;
        comparisons++;
        worst = Double.isNaN(error) ? Double.NaN : Math.max(worst, error);
        if (!(error <= tolerance)) {
          String where = each ? "element " + k : "random direction " + k;
          mismatches.add(new Mismatch(i, where, expected, got));
        }
      }
    }
    return new Report(comparisons, worst, List.copyOf(mismatches));
  }

  private double phi(Tensor[] xs, double[][] point, int input, double[] direction, double h) {
    try (Scope scope = Scope.open()) {
      Tensor[] moved = xs.clone();
      double[] values = point[input].clone();
      for (int j = 0; j < values.length; j++) {
        values[j] += h * direction[j];
      }
      moved[input] = Tensor.of(values, DType.F64, xs[input].device(), xs[input].shape().dims());
      return weighted(moved).item();
    }
  }
}
