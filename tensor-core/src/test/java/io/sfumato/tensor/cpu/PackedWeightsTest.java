// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Updates;
import org.junit.jupiter.api.Test;

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
