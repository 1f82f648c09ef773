// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.exec.Dense;
import java.util.Arrays;

/** Stable sorting of the lines of an array, for references. */
final class Ranking {
  private Ranking() {}

  /** The first {@code k} elements of each sorted line, and where they were. */
  static void fill(Dense x, int axis, int k, boolean descending, Dense values, Dense indices) {
    int a = x.shape().axis(axis);
    int n = x.dim(a);
    int inner = x.inner(a);
    double[] data = x.data();
    Integer[] order = new Integer[n];
    for (int line = 0; line < x.outer(a) * inner; line++) {
      int from = line / inner * n * inner + line % inner;
      int to = line / inner * k * inner + line % inner;
      Arrays.setAll(order, i -> i);
      Arrays.sort(
          order,
          (i, j) -> {
            double p = data[from + i * inner];
            double q = data[from + j * inner];
            return descending ? compare(q, p) : compare(p, q);
          });
      for (int i = 0; i < k; i++) {
        values.data()[to + i * inner] = data[from + order[i] * inner];
        indices.data()[to + i * inner] = order[i];
      }
    }
  }

  /** By value, 0 equal to -0, NaN above all. */
  private static int compare(double p, double q) {
    if (p < q) {
      return -1;
    }
    if (p > q) {
      return 1;
    }
    return Boolean.compare(Double.isNaN(p), Double.isNaN(q));
  }
}
