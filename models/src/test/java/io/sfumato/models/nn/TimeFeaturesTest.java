// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import org.junit.jupiter.api.Test;

final class TimeFeaturesTest {
  @Test
  void computedFromATensorTheyAreTheSame() {
    double[] t = {0, 1, 37.5, 999};
    for (boolean flip : new boolean[] {true, false}) {
      for (int dim : new int[] {64, 7}) {
        Scope.run(
            () -> {
              Tensor expected = TimeFeatures.sinusoidal(t, dim, flip, 0.5, Device.CPU);
              Tensor times = Tensor.of(new float[] {0, 1, 37.5f, 999}, 4);
              Tensor found = TimeFeatures.sinusoidal(times, dim, flip, 0.5);
              assertEquals(expected.shape(), found.shape());
              assertArrayEquals(expected.toFloatArray(), found.toFloatArray(), 1e-6f);
            });
      }
    }
  }

  @Test
  void aRowIsSinesThenCosinesAndAnOddWidthEndsInZero() {
    Scope.run(
        () -> {
          float[] row =
              TimeFeatures.sinusoidal(Tensor.of(new float[] {2}, 1), 5, false, 0).toFloatArray();
          float slow = 2 * (float) Math.exp(-Math.log(10000) / 2);
          double[] expected = {Math.sin(2), Math.sin(slow), Math.cos(2), Math.cos(slow), 0};
          for (int i = 0; i < 5; i++) {
            assertEquals(expected[i], row[i], 1e-6, "element " + i);
          }
        });
  }
}
