// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import org.junit.jupiter.api.Test;

class LatentPathTest {
  @Test
  void bothPathsHaveTheGivenEnds() {
    try (Scope scope = Scope.open()) {
      Tensor a = Rng.seed(0).normal(3, 5);
      Tensor b = Rng.seed(1).normal(3, 5);
      assertArrayEquals(a.toDoubleArray(), LatentPath.spherical(a, b, 0).toDoubleArray(), 1e-6);
      assertArrayEquals(b.toDoubleArray(), LatentPath.spherical(a, b, 1).toDoubleArray(), 1e-6);
      assertArrayEquals(a.toDoubleArray(), LatentPath.linear(a, b, 0).toDoubleArray());
      assertArrayEquals(b.toDoubleArray(), LatentPath.linear(a, b, 1).toDoubleArray());
    }
  }

  @Test
  void theArcKeepsLengthAndTurnsEvenly() {
    try (Scope scope = Scope.open()) {
      Tensor a = Tensor.of(new float[] {2, 0, 0, 3}, 2, 2); // rows of length 2 and 3
      Tensor b = Tensor.of(new float[] {0, 2, 3, 0}, 2, 2); // each a right angle away
      Tensor c = LatentPath.spherical(a, b, 1 / 3.0);
      double cos = Math.cos(Math.PI / 6);
      assertArrayEquals(new double[] {2 * cos, 1, 1.5, 3 * cos}, c.toDoubleArray(), 1e-6);
      assertEquals(2, Math.sqrt(Num.sum(c.select(0, 0).square()).item()), 1e-6);
    }
  }

  @Test
  void parallelAndZeroRowsGoStraight() {
    try (Scope scope = Scope.open()) {
      Tensor a = Tensor.of(new float[] {1, 1, 0, 0}, 2, 2);
      Tensor b = Tensor.of(new float[] {3, 3, 1, 2}, 2, 2);
      assertArrayEquals(
          new double[] {2, 2, 0.5, 1}, LatentPath.spherical(a, b, 0.5).toDoubleArray(), 1e-6);
      assertThrows(ShapeException.class, () -> LatentPath.linear(a, Tensor.ones(2, 3), 0.5));
    }
  }
}
