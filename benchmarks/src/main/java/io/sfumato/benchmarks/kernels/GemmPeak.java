// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.kernels;

import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Parallel;
import io.sfumato.tensor.ops.Num;
import java.util.Arrays;
import java.util.Locale;

/**
 * The matrix product of a square against what the machine can do: the share of the peak of fused
 * multiply-adds that one thread reaches, and how much faster two threads are.
 *
 * @param n side of the square
 * @param peak of one thread, the better of before and after, in flops per second
 * @param one what one thread reaches, by the median time
 * @param two what two threads reach
 */
record GemmPeak(int n, double peak, double one, double two) {
  private static final int LEAST_RUNS = 9;
  private static final int MOST_RUNS = 300;

  /**
   * Measures.
   *
   * @param n side of the square
   * @param seconds for one and for two threads, and again before each for the JIT compiler
   */
  static GemmPeak measure(int n, double seconds) {
    double before = MachineLimits.fmaPeak(1);
    double one = rate(n, 1, seconds);
    double peak = Math.max(before, MachineLimits.fmaPeak(1));
    return new GemmPeak(n, peak, one, rate(n, 2, seconds));
  }

  private static double rate(int n, int threads, double seconds) {
    Parallel.setThreads(threads);
    double[] times = new double[MOST_RUNS];
    try (Scope scope = Scope.open()) {
      Tensor a = Rng.seed(1).normal(n, n);
      Tensor b = Rng.seed(2).normal(n, n);
      Runnable product =
          () -> {
            Tensor unused = Num.matmul(a, b);
          };
      long start = System.nanoTime();
      while ((System.nanoTime() - start) * 1e-9 < seconds) {
        Scope.run(product);
      }
      int runs = 0;
      start = System.nanoTime();
      while (runs < LEAST_RUNS
          || (runs < MOST_RUNS && (System.nanoTime() - start) * 1e-9 < seconds)) {
        long t = System.nanoTime();
        Scope.run(product);
        times[runs++] = (System.nanoTime() - t) * 1e-9;
      }
      Arrays.sort(times, 0, runs);
      return 2.0 * n * n * n / times[runs / 2];
    }
  }

  double share() {
    return one / peak;
  }

  double speedUp() {
    return two / one;
  }

  @Override
  public String toString() {
    return String.format(
        Locale.ROOT,
        "GemmPeak %d: 1 thread %.1f GFLOP/s, %.0f %% of the FMA peak of %.1f; 2 threads %.1f"
            + " GFLOP/s, %.2f times as fast",
        n,
        one * 1e-9,
        100 * share(),
        peak * 1e-9,
        two * 1e-9,
        speedUp());
  }
}
