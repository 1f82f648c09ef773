// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Num;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Values are compared with PyTorch in GoldenVaeTest. */
class VaeTest {
  @TempDir Path folder;

  private static Vae vae(VaeConfig.Builder config) {
    return new Vae(Weights.init(Rng.seed(1)), config.build());
  }

  private static VaeConfig.Builder small() {
    return VaeConfig.builder().mlp(8).image(1, 4, 4).latentDim(2);
  }

  @Test
  void everythingWrongIsListedAtOnce() {
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () ->
                    new VaeConfig(
                        "cnn",
                        0,
                        6,
                        6,
                        List.of(4, -1),
                        8,
                        0,
                        "softmax",
                        "poisson",
                        "big",
                        0,
                        Double.NaN,
                        -1,
                        0))
            .getMessage();
    for (String part :
        List.of(
            "Vae config: ",
            "architecture must be one of mlp, conv; got 'cnn'",
            "image_channels must be positive; got 0",
            "hidden_sizes must be positive; got -1",
            "latent_dim must be positive; got 0",
            "activation must be one of",
            "likelihood must be one of bernoulli, gaussian; got 'poisson'",
            "variance must be one of fixed, shared, predicted; got 'big'",
            "sigma must be positive; got 0.0",
            "min_log_variance must be finite",
            "beta must not be negative; got -1.0",
            "num_classes must be positive; got 0")) {
      assertTrue(message.contains(part), message);
    }
    assertTrue(
        assertThrows(
                IllegalArgumentException.class,
                () -> VaeConfig.builder().conv(List.of(4, 4), 8).image(1, 6, 8).build())
            .getMessage()
            .contains("height and width must be divisible by 2^levels = 4"));
  }

  @Test
  void aFileWithTwoMistakesNamesBoth() throws IOException {
    Path file = folder.resolve("config.json");
    Files.writeString(file, "{\"latent_dim\": \"many\", \"height\": 2.5}");
    String message =
        assertThrows(IllegalArgumentException.class, () -> VaeConfig.read(file)).getMessage();
    assertTrue(message.contains("latent_dim must be an integer"), message);
    assertTrue(message.contains("height must be an integer"), message);
  }

  @Test
  void labelsAreForConditionalModelsAndInRange() {
    try (Scope scope = Scope.open();
        Vae plain = vae(small());
        Vae conditional = vae(small().numClasses(3))) {
      Tensor x = Rng.seed(2).uniform(2, 1, 4, 4);
      Tensor labels = Tensor.of(new long[] {0, 3}, 2);
      assertThrows(IllegalArgumentException.class, () -> plain.encode(x, labels));
      assertThrows(IllegalArgumentException.class, () -> conditional.encode(x, null));
      assertTrue(
          assertThrows(IllegalArgumentException.class, () -> conditional.encode(x, labels))
              .getMessage()
              .contains("labels must be in [0, 3); got 3 at 1"));
      assertThrows(ShapeException.class, () -> plain.encode(Rng.seed(2).uniform(2, 1, 4, 5), null));
    }
  }

  @Test
  void theBoundOfOneSampleIsTheLowerBoundAndMoreAreTighter() {
    try (Scope scope = Scope.open();
        Vae vae = vae(small())) {
      Tensor x = Rng.seed(2).uniform(1, 1, 4, 4);
      // In the mean over many samples, k = 1 is minus the loss (with the KL by sampling) ...
      int many = 4000;
      Tensor copies = x.expand(many, 1, 4, 4).contiguous();
      double one = Num.mean(vae.importanceWeightedBound(copies, null, 1, Rng.seed(3))).item();
      Tensor noise = Rng.seed(4).normal(many, 2);
      double elbo = -vae.loss(copies, null, noise).total().item();
      assertEquals(elbo, one, 0.05);
      // ... and the bound grows with k.
      double more = Num.mean(vae.importanceWeightedBound(copies, null, 64, Rng.seed(3))).item();
      assertTrue(more > one, more + " > " + one);
    }
  }

  @Test
  void samplesAreTheSeeds() {
    try (Scope scope = Scope.open();
        Vae vae = vae(small().numClasses(2))) {
      Tensor labels = Tensor.of(new long[] {0, 1, 1}, 3);
      Tensor a = vae.sample(3, labels, Rng.seed(5));
      assertEquals(Shape.of(3, 1, 4, 4), a.shape());
      assertArrayEquals(a.toDoubleArray(), vae.sample(3, labels, Rng.seed(5)).toDoubleArray());
      assertTrue(Num.min(a).item() >= 0 && Num.max(a).item() <= 1);
    }
  }
}
