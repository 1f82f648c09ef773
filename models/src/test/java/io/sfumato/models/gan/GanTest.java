// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.gan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Values are compared with PyTorch in GoldenGanTest. */
class GanTest {
  @Test
  void everythingWrongIsListedAtOnce() {
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () ->
                    new GanConfig(
                        "style",
                        0,
                        6,
                        8,
                        0,
                        List.of(),
                        List.of(6, -2),
                        "layer",
                        "group",
                        4,
                        true,
                        0,
                        0,
                        "film"))
            .getMessage();
    for (String part :
        List.of(
            "Gan config: ",
            "architecture must be one of dcgan, mlp; got 'style'",
            "generator_norm must be one of batch, group, none; got 'layer'",
            "conditioning must be one of projection, embedding; got 'film'",
            "image_channels must be positive; got 0",
            "latent_dim must be positive; got 0",
            "class_embed_dim must be positive; got 0",
            "num_classes must be positive; got 0",
            "generator_sizes must not be empty",
            "discriminator_sizes must be positive; got -2",
            "discriminator_sizes must be divisible by norm_num_groups = 4; got 6")) {
      assertTrue(message.contains(part), message);
    }
    assertTrue(
        assertThrows(
                IllegalArgumentException.class,
                () -> GanConfig.builder().dcgan(List.of(4), List.of(4, 4)).image(1, 6, 8).build())
            .getMessage()
            .contains("height and width must be divisible by 2^levels = 4"));
  }

  @Test
  void shapesAndLabelsAreChecked() {
    GanConfig config =
        GanConfig.builder()
            .dcgan(List.of(8, 4), List.of(4, 8))
            .image(1, 8, 4)
            .latentDim(3)
            .numClasses(2)
            .build();
    try (Scope scope = Scope.open();
        Gan gan = new Gan(Weights.init(Rng.seed(0)), config)) {
      Tensor y = Tensor.of(new long[] {0, 1}, 2);
      Tensor z = Rng.seed(1).normal(2, 3);
      Tensor x = gan.generator().call(z, y);
      assertEquals(Shape.of(2, 1, 8, 4), x.shape());
      assertEquals(Shape.of(2), gan.discriminator().call(x, y).shape());
      assertThrows(IllegalArgumentException.class, () -> gan.generator().call(z, null));
      assertThrows(ShapeException.class, () -> gan.generator().call(Rng.seed(1).normal(2, 4), y));
      assertThrows(
          ShapeException.class, () -> gan.discriminator().call(Rng.seed(1).normal(2, 1, 4, 8), y));
    }
  }

  @Test
  void lossesHaveNames() {
    for (GanLoss loss : GanLoss.values()) {
      assertEquals(loss, GanLoss.parse(loss.label()));
    }
    assertEquals("wgan-gp", GanLoss.WGAN_GP.label());
    assertTrue(
        assertThrows(IllegalArgumentException.class, () -> GanLoss.parse("vanilla"))
            .getMessage()
            .contains("one of non-saturating, hinge, wgan-gp; got 'vanilla'"));
  }
}
