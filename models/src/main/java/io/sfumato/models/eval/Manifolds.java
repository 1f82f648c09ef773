// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.eval;

import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Parallel;
import java.util.Arrays;

/**
 * How two sets of feature vectors cover each other. Around each vector of a set lies a ball that
 * reaches to its k-th nearest neighbour in the same set; the balls of a set stand for its manifold.
 */
public final class Manifolds {
  private Manifolds() {}

  /**
   * Fidelity and diversity of generated vectors.
   *
   * @param precision the share of generated vectors in a ball of the real ones (Kynkäänniemi et
   *     al., 2019)
   * @param recall the share of real vectors in a ball of the generated ones
   * @param density the mean number of real balls that a generated vector is in, over k; it may
   *     exceed 1 (Naeem et al., 2020)
   * @param coverage the share of real balls that hold a generated vector
   */
  public record Result(double precision, double recall, double density, double coverage) {}

  /**
   * Compares generated with real vectors by Euclidean distance. A ball includes its border.
   *
   * @param real [N, D]
   * @param generated [M, D]
   * @param k which neighbour a ball reaches to; 3 is used for precision and recall, 5 for density
   *     and coverage; less than N and M
   * @throws ShapeException if the tensors are not two sets of vectors of one width
   * @throws IllegalArgumentException if k is not within 1 to min(N, M) - 1
   */
  public static Result compare(Tensor real, Tensor generated, int k) {
    if (real.rank() != 2 || generated.rank() != 2 || real.dim(1) != generated.dim(1)) {
      throw new ShapeException(
          "real and generated must be [N, D] and [M, D]; got "
              + real.spec()
              + " and "
              + generated.spec());
    }
    int n = real.dim(0);
    int m = generated.dim(0);
    int d = real.dim(1);
    if (k < 1 || k >= Math.min(n, m)) {
      throw new IllegalArgumentException(
          "k must be 1 or more and less than the number of vectors, "
              + n
              + " real and "
              + m
              + " generated; got "
              + k);
    }
    double[] x = finite("real", real);
    double[] y = finite("generated", generated);
    double[] realRadii = radii(x, d, k);
    double[] generatedRadii = radii(y, d, k);
    int[] ballsOfReal = new int[m]; // for each generated vector, the real balls it is in
    boolean[] recalled = new boolean[n];
    boolean[] covered = new boolean[n];
    Parallel.forRange(
        m,
        16,
        (begin, end, worker) -> {
          for (int j = begin; j < end; j++) {
            for (int i = 0; i < n; i++) {
              if (squaredDistance(x, i, y, j, d) <= realRadii[i]) {
                ballsOfReal[j]++;
              }
            }
          }
        });
    Parallel.forRange(
        n,
        16,
        (begin, end, worker) -> {
          for (int i = begin; i < end; i++) {
            for (int j = 0; j < m; j++) {
              double distance = squaredDistance(x, i, y, j, d);
              recalled[i] |= distance <= generatedRadii[j];
              covered[i] |= distance <= realRadii[i];
            }
          }
        });
    double precision = Arrays.stream(ballsOfReal).filter(c -> c > 0).count() / (double) m;
    double density = Arrays.stream(ballsOfReal).asLongStream().sum() / ((double) k * m);
    return new Result(precision, share(recalled), density, share(covered));
  }

  /** The squared distance of each vector to its k-th nearest neighbour in the same set. */
  private static double[] radii(double[] x, int d, int k) {
    int n = x.length / d;
    double[] radii = new double[n];
    Parallel.forRange(
        n,
        16,
        (begin, end, worker) -> {
          double[] distances = new double[n];
          for (int i = begin; i < end; i++) {
            for (int j = 0; j < n; j++) {
              distances[j] = squaredDistance(x, i, x, j, d);
            }
            Arrays.sort(distances); // the first is 0, the vector itself
            radii[i] = distances[k];
          }
        });
    return radii;
  }

  private static double squaredDistance(double[] x, int i, double[] y, int j, int d) {
    double sum = 0;
    for (int c = 0; c < d; c++) {
      double difference = x[i * d + c] - y[j * d + c];
      sum += difference * difference;
    }
    return sum;
  }

  private static double[] finite(String what, Tensor vectors) {
    double[] values = vectors.toDoubleArray();
    for (int i = 0; i < values.length; i++) {
      if (!Double.isFinite(values[i])) {
        throw new IllegalArgumentException(
            what + " vector " + i / vectors.dim(1) + " holds " + values[i]);
      }
    }
    return values;
  }

  private static double share(boolean[] flags) {
    int count = 0;
    for (boolean flag : flags) {
      count += flag ? 1 : 0;
    }
    return count / (double) flags.length;
  }
}
