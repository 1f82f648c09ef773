// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.nn.Context;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Shaping;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class ControlNetTest {
  private static final double[] T = {5};

  private static Map<String, Object> small() {
    Map<String, Object> values = new HashMap<>(UNet2DConditionTest.small());
    values.remove("up_block_types");
    values.put("conditioning_embedding_out_channels", List.of(4, 8));
    return values;
  }

  private static ControlNet model(Map<String, Object> values) {
    return new ControlNet(Weights.init(Rng.seed(0)), ControlNetConfig.of(values));
  }

  @Test
  void theNetworkOfStableDiffusion15HasTheReferencesNamesShapesAndOrder() throws IOException {
    List<String> expected =
        Files.readAllLines(Path.of("src/test/resources/keys/controlnet_sd15.txt"));
    try (Scope scope = Scope.open();
        ControlNet control =
            new ControlNet(
                Weights.meta(), ControlNetConfig.of(Map.of("cross_attention_dim", 768)))) {
      List<String> actual = new ArrayList<>();
      for (Parameter p : control.parameters()) {
        actual.add(p.name() + "\t" + p.value().shape().toString().replace(" ", ""));
      }
      assertEquals(expected, actual);
      assertEquals(340, actual.size());
      assertEquals(361_279_120, control.parameterCount());
    }
  }

  @Test
  void aFreshNetworkBesideItsUNetChangesNothing() {
    try (UNet2DCondition unet =
            new UNet2DCondition(
                Weights.init(Rng.seed(1)), UNet2DConditionConfig.of(UNet2DConditionTest.small()));
        ControlNet control = model(small());
        Scope scope = Scope.open()) {
      control.copyFrom(unet);
      Map<String, Tensor> theirs = unet.stateDict();
      control
          .stateDict()
          .forEach(
              (name, value) -> {
                if (!name.startsWith("controlnet_")) {
                  assertArrayEquals(theirs.get(name).toFloatArray(), value.toFloatArray(), name);
                }
              });
      Tensor x = Rng.seed(2).normal(1, 4, 8, 8);
      Context context = Context.of(Rng.seed(3).normal(1, 3, 6));
      ControlNet.Residuals r = control.call(x, T, context, Rng.seed(4).normal(1, 3, 16, 16));
      assertEquals(4, r.down().size());
      UNetConditions conditions = UNetConditions.none().residuals(r.down(), r.mid());
      assertArrayEquals(
          unet.call(x, T, context).toFloatArray(),
          unet.call(x, T, context, conditions).toFloatArray());
      Map<String, Object> other = small();
      other.put("cross_attention_dim", 7);
      try (ControlNet wrong = model(other)) {
        assertMessage(
            "attn2.to_k.weight", IllegalArgumentException.class, () -> wrong.copyFrom(unet));
      }
    }
  }

  @Test
  void residualsAreScaledAddedAndAveraged() {
    Tensor one;
    try (Scope scope = Scope.open()) {
      one = Tensor.ones(1, 1, 2, 2);
      var r = new ControlNet.Residuals(List.of(one, one), one, false);
      assertEquals(0.5f, r.scaledBy(0.5).mid().toFloatArray()[0]);
      ControlNet.Residuals guess = r.forGuessing(2);
      assertEquals(0.2f, guess.down().get(0).toFloatArray()[0], 1e-6);
      assertEquals(2 * Math.sqrt(0.1), guess.down().get(1).toFloatArray()[0], 1e-6);
      assertEquals(2, guess.mid().toFloatArray()[0], 1e-6);
      assertEquals(3, r.plus(r.scaledBy(2)).down().get(1).toFloatArray()[0]);
      var pooled = new ControlNet.Residuals(List.of(one), one, true);
      assertEquals(2, pooled.forGuessing(2).down().get(0).toFloatArray()[0]);
    }
  }

  @Test
  void channelOrderAndAveragesAreHonoured() {
    Map<String, Object> reversed = small();
    reversed.put("controlnet_conditioning_channel_order", "bgr");
    reversed.put("global_pool_conditions", true);
    try (ControlNet rgb = model(small());
        ControlNet bgr = model(reversed);
        Scope scope = Scope.open()) {
      // Zero convolutions hide everything; give them values.
      for (ControlNet c : List.of(rgb, bgr)) {
        for (Parameter p : c.parameters()) {
          if (p.name().startsWith("controlnet_")) {
            io.sfumato.tensor.ops.Updates.copy(
                p.value(), Rng.seed(9).fork(p.name()).normal(p.value().shape().dims()));
          }
        }
      }
      Tensor x = Rng.seed(2).normal(1, 4, 8, 8);
      Context context = Context.of(Rng.seed(3).normal(1, 3, 6));
      Tensor hint = Rng.seed(4).normal(1, 3, 16, 16);
      Tensor mid = rgb.call(x, T, context, hint).mid();
      Tensor flipped = bgr.call(x, T, context, Shaping.flip(hint, 1)).mid();
      assertEquals("[1, 16, 1, 1]", flipped.shape().toString());
      float[] mean = new float[16];
      float[] all = mid.toFloatArray();
      for (int i = 0; i < all.length; i++) {
        mean[i / 16] += all[i] / 16;
      }
      assertArrayEquals(mean, flipped.toFloatArray(), 1e-4f);
      assertFalse(
          Arrays.equals(
              flipped.toFloatArray(), bgr.call(x, T, context, hint).mid().toFloatArray()));
    }
  }

  @Test
  void wrongInputsAndConfigurationsAreNamed() {
    try (ControlNet control = model(small());
        Scope scope = Scope.open()) {
      Context context = Context.of(Tensor.zeros(1, 3, 6));
      assertMessage(
          "hint must be [1, 3, 16, 16]",
          ShapeException.class,
          () -> control.call(Tensor.zeros(1, 4, 8, 8), T, context, Tensor.zeros(1, 3, 8, 8)));
    }
    Map<String, Object> values = small();
    values.put("controlnet_conditioning_channel_order", "gbr");
    values.put("conditioning_channels", 0);
    values.put("time_embedding_type", "positional");
    assertMessage("keys of U-Nets", IllegalArgumentException.class, () -> model(values));
    assertMessage("gbr", IllegalArgumentException.class, () -> model(values));
    assertMessage("conditioning_channels", IllegalArgumentException.class, () -> model(values));
  }

  private static void assertMessage(
      String part, Class<? extends RuntimeException> kind, Runnable body) {
    String message = String.valueOf(assertThrows(kind, body::run).getMessage());
    assertTrue(message.contains(part), message);
  }
}
