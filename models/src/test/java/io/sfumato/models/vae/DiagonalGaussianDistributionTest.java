// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.sfumato.autograd.Autograd;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.ops.Num;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

/** Against torch.distributions. */
class DiagonalGaussianDistributionTest {
  private static final Path FILE = Path.of("src/test/resources/torch/gaussian/io.safetensors");

  @Test
  void divergenceDensityAndDrawsAreTheReferences() {
    try (Scope scope = Scope.open();
        SafeTensors io = SafeTensors.open(FILE)) {
      var p = new DiagonalGaussianDistribution(io.read("p"));
      var q = new DiagonalGaussianDistribution(io.read("q"));
      close(io, "kl", p.kl());
      close(io, "kl_of_q_and_p", q.kl(p));
      close(io, "nll", q.nll(io.read("x")));
      close(io, "sample", q.sample(io.read("noise")));
      Tensor slope =
          Autograd.grad(t -> Num.sum(new DiagonalGaussianDistribution(t).kl()), io.read("p"));
      close(io, "grad.kl", slope);
    }
  }

  private static void close(SafeTensors io, String key, Tensor actual) {
    double[] expected = io.read(key).toDoubleArray();
    double[] values = actual.toDoubleArray();
    assertEquals(expected.length, values.length, key);
    for (int i = 0; i < values.length; i++) {
      assertEquals(expected[i], values[i], 1e-5 * Math.max(1, Math.abs(expected[i])), key);
    }
  }

  @Test
  void aDeterministicOneIsItsMean() {
    try (Scope scope = Scope.open()) {
      Tensor parameters = Rng.seed(0).normal(2, 4, 3, 3);
      var d = new DiagonalGaussianDistribution(parameters, true);
      assertArrayEquals(d.mean().toFloatArray(), d.sample(Rng.seed(1)).toFloatArray());
      assertArrayEquals(d.mean().toFloatArray(), d.mode().toFloatArray());
      assertArrayEquals(new float[] {0}, d.kl().toFloatArray());
      assertArrayEquals(new float[] {0}, d.nll(d.mean()).toFloatArray());
      assertEquals("[2, 2, 3, 3]", d.var().shape().toString());
    }
  }

  @Test
  void drawsHaveTheRightSpread() {
    try (Scope scope = Scope.open()) {
      Tensor parameters = Tensor.full(Math.log(4), 1, 2, 100, 100);
      Tensor draws = new DiagonalGaussianDistribution(parameters).sample(Rng.seed(3));
      assertEquals(Math.log(4), draws.mean().item(), 0.1);
      assertEquals(2, Num.std(draws, 0, false).item(), 0.1);
    }
  }

  @Test
  void anOddNumberOfChannelsIsRefused() {
    try (Scope scope = Scope.open()) {
      Tensor odd = Tensor.zeros(1, 3, 2, 2);
      assertThrows(ShapeException.class, () -> new DiagonalGaussianDistribution(odd));
    }
  }
}
