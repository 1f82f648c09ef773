// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** Draws have their distributions; streams are independent and never change. */
class RngTest {
  private static final int N = 100_000;

  /** The Kolmogorov-Smirnov statistic exceeds this / √n once in a thousand draws. */
  private static final double KS_LIMIT = 1.95;

  private static double[] normal(Rng rng) {
    try (Scope scope = Scope.open()) {
      return rng.normal(N).toDoubleArray();
    }
  }

  private static double[] uniform(Rng rng) {
    try (Scope scope = Scope.open()) {
      return rng.uniform(N).toDoubleArray();
    }
  }

  private static double mean(double[] x) {
    return Arrays.stream(x).sum() / x.length;
  }

  private static double variance(double[] x) {
    double mean = mean(x);
    return Arrays.stream(x).map(v -> (v - mean) * (v - mean)).sum() / x.length;
  }

  private static List<Rng> streams() {
    Rng root = Rng.seed(2024);
    return List.of(root, root.fork("noise"), root.fork("a.weight"), root.step(0), root.step(1));
  }

  @Test
  void normalsHaveMeanVarianceAndShape() {
    for (Rng rng : streams()) {
      double[] x = normal(rng);
      assertEquals(0, mean(x), 4 / Math.sqrt(N), rng.toString());
      assertEquals(1, variance(x), 4 * Math.sqrt(2.0 / N), rng.toString());
      Arrays.sort(x);
      double cdf = integral(-9, x[0]);
      double worst = 0;
      for (int i = 0; i < N; i++) {
        cdf += i == 0 ? 0 : integral(x[i - 1], x[i]);
        worst = Math.max(worst, Math.max(cdf - (double) i / N, (i + 1.0) / N - cdf));
      }
      assertTrue(worst < KS_LIMIT / Math.sqrt(N), rng + ": " + worst);
    }
  }

  /** The normal density integrated by Simpson's rule. */
  private static double integral(double from, double to) {
    int steps = to - from > 0.1 ? 1000 : 1;
    double h = (to - from) / steps;
    double sum = 0;
    for (int i = 0; i < steps; i++) {
      double x = from + i * h;
      sum += h / 6 * (density(x) + 4 * density(x + h / 2) + density(x + h));
    }
    return sum;
  }

  private static double density(double x) {
    return Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
  }

  @Test
  void uniformsHaveMeanVarianceAndShape() {
    for (Rng rng : streams()) {
      double[] x = uniform(rng);
      assertEquals(0.5, mean(x), 4 / Math.sqrt(12.0 * N), rng.toString());
      assertEquals(1 / 12.0, variance(x), 4 * Math.sqrt(1 / 180.0 / N), rng.toString());
      Arrays.sort(x);
      double worst = 0;
      for (int i = 0; i < N; i++) {
        worst = Math.max(worst, Math.max(x[i] - (double) i / N, (i + 1.0) / N - x[i]));
      }
      assertTrue(worst < KS_LIMIT / Math.sqrt(N), rng + ": " + worst);
      assertTrue(x[0] >= 0 && x[N - 1] < 1);
    }
  }

  @Test
  void streamsAreUncorrelated() {
    Rng root = Rng.seed(7);
    List<double[]> draws = new ArrayList<>();
    draws.add(normal(root));
    draws.add(normal(Rng.seed(8)));
    for (String name : List.of("", "a", "b", "ab", "a.weight", "b.weight")) {
      draws.add(normal(root.fork(name)));
    }
    for (long step = -1; step < 5; step++) {
      draws.add(normal(root.step(step)));
    }
    draws.add(normal(root.fork("a").step(1)));
    draws.add(normal(root.step(1).fork("a")));
    for (int i = 0; i < draws.size(); i++) {
      for (int j = 0; j < i; j++) {
        double product = 0;
        for (int k = 0; k < N; k++) {
          product += draws.get(i)[k] * draws.get(j)[k];
        }
        assertEquals(0, product / N, 5 / Math.sqrt(N), i + " and " + j);
      }
    }
  }

  @Test
  void keysDiffer() {
    Set<Long> keys = new HashSet<>();
    Rng root = Rng.seed(0);
    for (int i = 0; i < 20_000; i++) {
      assertTrue(keys.add(root.step(i).key()), "step " + i);
      assertTrue(keys.add(root.fork("layer." + i + ".weight").key()), "fork " + i);
      assertTrue(keys.add(Rng.seed(i).key()), "seed " + i);
    }
  }

  @Test
  void aDrawIsAFunctionOfKeyAndShapeAlone() {
    try (Scope scope = Scope.open()) {
      Rng rng = Rng.seed(3).fork("x");
      double[] first = rng.normal(6, 4).toDoubleArray();
      rng.fork("other").normal(100);
      assertArrayEquals(first, rng.normal(6, 4).toDoubleArray());
      assertArrayEquals(first, rng.normal(24).toDoubleArray());
      assertArrayEquals(Arrays.copyOf(first, 7), rng.normal(7).toDoubleArray());
      TensorSpec spec = new TensorSpec(Shape.of(24), DType.F64, Device.CPU);
      assertArrayEquals(first, rng.normal(spec).toDoubleArray());
      for (DType half : List.of(DType.BF16, DType.F16)) {
        assertArrayEquals(
            rng.normal(24).to(half).toDoubleArray(), rng.normal(spec.with(half)).toDoubleArray());
      }
      assertThrows(DTypeException.class, () -> rng.normal(spec.with(DType.I64)));
    }
  }

  /** A change here changes every seeded result. */
  @Test
  void keysAndValuesNeverChange() {
    Rng root = Rng.seed(42);
    assertEquals(0x39046177a60d816eL, root.key());
    assertEquals(0x3d1986c789eb6d37L, root.fork("conv_in.weight").key());
    assertEquals(0x57cdd833e39a0e74L, root.fork("").key());
    assertEquals(0x93d0575bb67642e7L, root.fork("zwölf").key());
    assertEquals(0xb73664a0388cc896L, root.step(3).key());
    try (Scope scope = Scope.open()) {
      Rng rng = root.fork("noise").step(1);
      assertArrayEquals(
          new float[] {-0.48524216f, -0.42631823f, -0.059554268f, 2.1862385f},
          rng.normal(4).toFloatArray());
      assertArrayEquals(
          new float[] {0.8117169f, 0.61472636f, 0.09148383f, 0.2543344f},
          rng.uniform(4).toFloatArray());
    }
  }
}
