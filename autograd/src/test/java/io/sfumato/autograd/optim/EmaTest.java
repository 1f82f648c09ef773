// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.optim;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Updates;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Moving averages of parameters. */
class EmaTest {
  @Test
  void decaysAreDiffusers() {
    try (Scope scope = Scope.open();
        Parameter p = new Parameter("p", Tensor.of(new double[] {1}, 1));
        Ema plain = new Ema(List.of(p), Ema.options());
        Ema warm = new Ema(List.of(p), Ema.options().warmup(1, 0.75).updateAfter(2));
        Ema least = new Ema(List.of(p), Ema.options().minDecay(0.5).decay(0.6))) {
      assertEquals(0, plain.decay(1));
      assertEquals(2.0 / 11, plain.decay(2), 1e-15);
      assertEquals(0.9999, plain.decay(10_000_000));
      assertEquals(0, warm.decay(3));
      assertEquals(1 - Math.pow(2, -0.75), warm.decay(4), 1e-15);
      assertEquals(0.5, least.decay(2));
      assertEquals(0.6, least.decay(1000));
    }
  }

  @Test
  void averagesFollowSwapAndCopy() {
    try (Scope scope = Scope.open();
        Parameter p = new Parameter("p", Tensor.of(new double[] {1, 2}, 2));
        Ema ema = new Ema(List.of(p), Ema.options())) {
      ema.update(); // decay 0: a copy
      Updates.copy(p.value(), Tensor.of(new double[] {12, 13}, 2));
      ema.update(); // decay 2/11
      double d = 2.0 / 11;
      double[] expected = {1 + (1 - d) * 11, 2 + (1 - d) * 11};
      assertArrayEquals(expected, ema.averages().getFirst().value().toDoubleArray(), 1e-12);
      try (Ema.Swap swap = ema.swap()) {
        assertArrayEquals(expected, p.value().toDoubleArray(), 1e-12);
        swap.close();
        assertArrayEquals(new double[] {12, 13}, p.value().toDoubleArray());
      }
      try (Ema other = new Ema(List.of(p), Ema.options())) {
        other.load(ema.state());
        other.copyToParameters();
        assertArrayEquals(expected, p.value().toDoubleArray(), 1e-12);
        assertThrows(IllegalArgumentException.class, () -> other.load(Map.of()));
      }
    }
  }
}
