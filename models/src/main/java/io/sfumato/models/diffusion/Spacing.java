// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

/**
 * Which of the T timesteps a sampler visits, from noisy to clean. The three kinds are those of
 * table 2 of Lin et al. (2023); their arithmetic is NumPy's, since a tie is rounded by it.
 */
final class Spacing {
  private Spacing() {}

  /**
   * @throws IllegalArgumentException unless 1 ≤ n ≤ T
   */
  private static void check(int n, int total) {
    if (n < 1 || n > total) {
      throw new IllegalArgumentException("sampling steps must be in [1, " + total + "]; got " + n);
    }
  }

  /** Whole timesteps, the first and last of [0, T - 1] included by linspace. */
  static int[] whole(SchedulerConfig c, int n) {
    int total = c.trainTimesteps();
    check(n, total);
    return switch (c.text("timestep_spacing")) {
      case "leading" -> leading(n, total / n, c.integer("steps_offset"));
      case "trailing" -> trailing(total, (double) total / n);
      default -> {
        int[] t = new int[n];
        for (int i = 0; i < n; i++) {
          t[i] = (int) Math.rint(linspace(total - 1, n, n - 1 - i));
        }
        yield t;
      }
    };
  }

  /** As {@link #whole}, but linspace is not rounded. */
  static double[] fractional(SchedulerConfig c, int n) {
    if (!c.is("timestep_spacing", "linspace")) {
      return java.util.Arrays.stream(whole(c, n)).asDoubleStream().toArray();
    }
    int total = c.trainTimesteps();
    check(n, total);
    double[] t = new double[n];
    for (int i = 0; i < n; i++) {
      t[i] = (float) linspace(total - 1, n, n - 1 - i);
    }
    return t;
  }

  /**
   * Whole timesteps of n + 1 without the cleanest: the last step leads to no noise at all.
   *
   * @param last the number of timesteps that may be visited, at most T
   */
  static int[] withoutLast(SchedulerConfig c, int n, int last) {
    check(n, c.trainTimesteps());
    return switch (c.text("timestep_spacing")) {
      case "leading" -> {
        int[] t = leading(n + 1, last / (n + 1), c.integer("steps_offset"));
        yield java.util.Arrays.copyOf(t, n);
      }
      case "trailing" -> trailing(last, (double) c.trainTimesteps() / n);
      default -> {
        int[] t = new int[n];
        for (int i = 0; i < n; i++) {
          t[i] = (int) Math.rint(linspace(last - 1, n + 1, n - i));
        }
        yield t;
      }
    };
  }

  private static int[] leading(int n, int stride, int offset) {
    int[] t = new int[n];
    for (int i = 0; i < n; i++) {
      t[i] = (n - 1 - i) * stride + offset;
    }
    return t;
  }

  private static int[] trailing(int total, double stride) {
    int[] t = new int[(int) Math.ceil((0.0 - total) / -stride)];
    double step = (total - stride) - total;
    for (int i = 0; i < t.length; i++) {
      t[i] = (int) Math.rint(total + i * step) - 1;
    }
    return t;
  }

  /** Entry i of NumPy's linspace(0, end, n). */
  static double linspace(double end, int n, int i) {
    return n > 1 && i == n - 1 ? end : n == 1 ? 0 : i * (end / (n - 1));
  }
}
