// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.tensor.Layout;

/** Small arithmetic of launches. */
final class Blocks {
  private Blocks() {}

  /** The quotient rounded up. */
  static long ceil(long a, long b) {
    return (a + b - 1) / b;
  }

  /** The smallest power of two that is at least {@code n}, between two others. */
  static int power(long n, int least, int most) {
    int p = least;
    while (p < n && p < most) {
      p *= 2;
    }
    return p;
  }

  /** Whether all are multiples of {@code unit}. */
  static boolean multiples(long unit, long... values) {
    for (long v : values) {
      if (v % unit != 0) {
        return false;
      }
    }
    return true;
  }

  /** A dense tensor as [outer, n, inner], n the size of one axis; steps of {@code inner}. */
  record Lines(long outer, long n, long inner) {
    /** The lines of a dense layout along an axis. */
    static Lines of(Layout dense, int axis) {
      long n = dense.shape().dim(axis);
      if (n <= 1) {
        return new Lines(dense.shape().numel(), n, 1);
      }
      long inner = dense.stride(axis);
      return new Lines(dense.shape().numel() / (n * inner), n, inner);
    }

    /** The number of lines. */
    long count() {
      return outer * inner;
    }
  }
}
