// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.Conv2dBackwardInput;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Shaping;
import io.sfumato.tensor.ops.Updates;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PackedWeightsTest {
  private static long live() {
    return CpuBackend.instance().memory().live();
  }

  private static float[] linear(Tensor x, Tensor w) {
    return Scope.run(() -> NN.linear(x, w, null)).toFloatArray();
  }

  @Test
  void givesTheSameBitsPackedOrNotAndFollowsChanges() {
    long before = live();
    try (Scope scope = Scope.open()) {
      Tensor x = Rng.seed(1).normal(9, 430);
      Tensor w = Rng.seed(2).normal(70, 430);
      float[] first = linear(x, w);
      float[] second = linear(x, w); // packs
      float[] third = linear(x, w); // reads what was packed
      assertArrayEquals(first, second);
      assertArrayEquals(first, third);
      Updates.add(w, w, 1);
      float[] doubled = linear(x, w);
      for (int i = 0; i < first.length; i++) {
        assertEquals(2 * first[i], doubled[i], "doubling is exact");
      }
      assertArrayEquals(doubled, linear(x, w));
      assertArrayEquals(doubled, linear(x, w));
    }
    assertEquals(before, live(), "panels go with the weight");
  }

  /** Pointwise, in the Winograd domain, directly, in groups; each forward and backward. */
  @ParameterizedTest
  @CsvSource({"1, 1, 1", "3, 1, 1", "3, 2, 1", "3, 1, 2", "5, 1, 1"})
  void convolvesWithTheSameBitsPackedOrNot(int kernel, int stride, int groups) {
    long before = live();
    try (Scope scope = Scope.open()) {
      ConvOptions options =
          ConvOptions.of()
              .padding(kernel / 2, kernel / 2)
              .stride(stride, stride)
              .dilation(1, 1)
              .groups(groups);
      Tensor x = Shaping.channelsLast(Rng.seed(1).normal(2, 32, 10, 9));
      Tensor w = Rng.seed(2).normal(48, 32 / groups, kernel, kernel);
      Tensor bias = Rng.seed(3).normal(48);
      Tensor dy = Tensor.ones(NN.conv2d(x, w, bias, options).shape().dims());
      for (int i = 0; i < 4; i++) {
        Tensor fresh = w.mul(1); // has no panels
        float[] expected = NN.conv2d(x, fresh, bias, options).toFloatArray();
        assertArrayEquals(expected, NN.conv2d(x, w, bias, options).toFloatArray());
        float[] gradient = inputGradient(options, x, fresh, dy);
        assertArrayEquals(gradient, inputGradient(options, x, w, dy));
      }
      Updates.add(w, w, 1);
      assertArrayEquals(
          NN.conv2d(x, w.mul(1), bias, options).toFloatArray(),
          NN.conv2d(x, w, bias, options).toFloatArray(),
          "follows the weight");
    }
    assertEquals(before, live(), "panels go with the weight");
  }

  private static float[] inputGradient(ConvOptions options, Tensor x, Tensor w, Tensor dy) {
    Op op = new Conv2dBackwardInput(options, List.of(x.dim(2), x.dim(3)));
    return Executor.run(op, dy, w).toFloatArray();
  }

  @Test
  void keepsTheViewsOfOneStorageApart() {
    try (Scope scope = Scope.open()) {
      Tensor x = Rng.seed(1).normal(3, 20);
      Tensor both = Rng.seed(2).normal(40, 20);
      Tensor upper = both.slice(0, 0, 20);
      Tensor lower = both.slice(0, 20, 40);
      for (int i = 0; i < 3; i++) {
        assertArrayEquals(linear(x, upper.contiguous()), linear(x, upper));
        assertArrayEquals(linear(x, lower.contiguous()), linear(x, lower));
        assertArrayEquals(
            linear(x, upper.permute(1, 0).contiguous()), linear(x, upper.permute(1, 0)));
      }
      assertNotEquals(linear(x, upper)[0], linear(x, lower)[0]);
    }
  }
}
