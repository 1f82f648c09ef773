// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.eval;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Parallel;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.TensorEntry;
import io.sfumato.tensor.io.TensorFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Mean and covariance of a set of feature vectors: all that {@link Frechet} needs, so that those of
 * a large reference set are computed once and kept.
 */
public final class FeatureStatistics {
  private static final String MEAN = "mean";
  private static final String COVARIANCE = "covariance";
  private static final String COUNT = "count";

  private final long count;
  private final double[] mean;
  private final double[] covariance;

  /**
   * Statistics computed elsewhere.
   *
   * @param count N, the number of vectors
   * @param mean [D]
   * @param covariance [D, D] row by row, symmetric, with the divisor N - 1
   * @throws IllegalArgumentException listing everything wrong
   */
  public FeatureStatistics(long count, double[] mean, double[] covariance) {
    List<String> wrong = new ArrayList<>();
    int width = mean.length;
    if (count < 2) {
      wrong.add("a covariance needs 2 vectors or more; got " + count);
    }
    if (width == 0) {
      wrong.add("vectors must not be empty");
    }
    if (covariance.length != (long) width * width) {
      wrong.add(
          "the covariance of "
              + width
              + " features must have "
              + (long) width * width
              + " values; got "
              + covariance.length);
    } else {
      requireSymmetric(covariance, width, wrong);
    }
    requireFinite("mean", mean, wrong);
    requireFinite("covariance", covariance, wrong);
    if (!wrong.isEmpty()) {
      throw new IllegalArgumentException("feature statistics: " + String.join("; ", wrong));
    }
    this.count = count;
    this.mean = mean.clone();
    this.covariance = covariance.clone();
  }

  /** N, the number of vectors. */
  public long count() {
    return count;
  }

  /** D, the number of features. */
  public int width() {
    return mean.length;
  }

  /** The mean of feature {@code i}. */
  public double mean(int i) {
    return mean[i];
  }

  /** The covariance of features {@code i} and {@code j}. */
  public double covariance(int i, int j) {
    return covariance[i * mean.length + j];
  }

  private static void requireFinite(String what, double[] values, List<String> wrong) {
    for (int i = 0; i < values.length; i++) {
      if (!Double.isFinite(values[i])) {
        wrong.add(what + " must be finite; value " + i + " is " + values[i]);
        return;
      }
    }
  }

  private static void requireSymmetric(double[] c, int width, List<String> wrong) {
    double largest = 0;
    for (double v : c) {
      largest = Math.max(largest, Math.abs(v));
    }
    for (int i = 0; i < width; i++) {
      for (int j = 0; j < i; j++) {
        if (Math.abs(c[i * width + j] - c[j * width + i]) > 1e-6 * largest) {
          wrong.add(
              "the covariance must be symmetric; ["
                  + i
                  + ", "
                  + j
                  + "] is "
                  + c[i * width + j]
                  + " and its mirror image "
                  + c[j * width + i]);
          return;
        }
      }
    }
  }

  /**
   * The statistics of a set of vectors, accumulated in double precision around the mean.
   *
   * @param features [N, D], N at least 2
   * @throws ShapeException if the tensor is of another rank
   * @throws IllegalArgumentException if there are too few vectors, or values that are not finite
   */
  public static FeatureStatistics of(Tensor features) {
    if (features.rank() != 2) {
      throw new ShapeException("features must be [N, D]; got " + features.spec());
    }
    int n = features.dim(0);
    int d = features.dim(1);
    double[] x = features.toDoubleArray();
    double[] mean = new double[d];
    for (int i = 0; i < n; i++) {
      for (int j = 0; j < d; j++) {
        mean[j] += x[i * d + j] / n;
      }
    }
    for (int i = 0; i < n; i++) {
      for (int j = 0; j < d; j++) {
        x[i * d + j] -= mean[j];
      }
    }
    double[] covariance = new double[d * d];
    double divisor = Math.max(1, n - 1);
    Parallel.forRange(
        d,
        8,
        (begin, end, worker) -> {
          for (int i = 0; i < n; i++) {
            for (int a = begin; a < end; a++) {
              double v = x[i * d + a] / divisor;
              for (int b = 0; b < d; b++) {
                covariance[a * d + b] += v * x[i * d + b];
              }
            }
          }
        });
    return new FeatureStatistics(n, mean, covariance);
  }

  /**
   * Writes {@code mean} F64 [D], {@code covariance} F64 [D, D] and {@code count} I64 [1].
   *
   * @param file a safetensors file; its folder must exist
   */
  public void save(Path file) {
    try (Scope scope = Scope.open()) {
      int d = mean.length;
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      tensors.put(MEAN, Tensor.of(mean, DType.F64, Device.CPU, d));
      tensors.put(COVARIANCE, Tensor.of(covariance, DType.F64, Device.CPU, d, d));
      tensors.put(COUNT, Tensor.of(new long[] {count}, 1));
      SafeTensors.save(file, tensors);
    }
  }

  /**
   * Reads what {@link #save} wrote.
   *
   * @throws TensorFileException if the file cannot be read, or lacks one of the three tensors
   * @throws IllegalArgumentException if the values are no statistics
   */
  public static FeatureStatistics open(Path file) {
    try (Scope scope = Scope.open();
        SafeTensors tensors = SafeTensors.open(file)) {
      Map<String, TensorEntry> entries = tensors.entries();
      List<String> missing =
          List.of(MEAN, COVARIANCE, COUNT).stream().filter(n -> !entries.containsKey(n)).toList();
      if (!missing.isEmpty()) {
        throw new TensorFileException(
            file, "holds no feature statistics: " + String.join(", ", missing) + " missing");
      }
      return new FeatureStatistics(
          tensors.read(COUNT).toLongArray()[0],
          tensors.read(MEAN).toDoubleArray(),
          tensors.read(COVARIANCE).toDoubleArray());
    }
  }
}
