// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Autograd;
import io.sfumato.models.nn.Context;
import io.sfumato.models.nn.GradientCheckpointing;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.CpuBackend;
import io.sfumato.tensor.exec.Trace;
import io.sfumato.tensor.exec.ViewOp;
import io.sfumato.tensor.exec.ViewsOp;
import io.sfumato.tensor.io.Weights;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class UNet2DConditionTest {
  private static final double[] T = {5};

  @TempDir Path folder;

  static Map<String, Object> small() {
    Map<String, Object> values = new HashMap<>();
    values.put("block_out_channels", List.of(8, 16));
    values.put("down_block_types", List.of("CrossAttnDownBlock2D", "DownBlock2D"));
    values.put("up_block_types", List.of("UpBlock2D", "CrossAttnUpBlock2D"));
    values.put("layers_per_block", 1);
    values.put("norm_num_groups", 4);
    values.put("attention_head_dim", 2);
    values.put("cross_attention_dim", 6);
    return values;
  }

  private static Map<String, Object> with(Map<String, Object> values, Object... pairs) {
    for (int i = 0; i < pairs.length; i += 2) {
      values.put((String) pairs[i], pairs[i + 1]);
    }
    return values;
  }

  private static UNet2DCondition model(Map<String, Object> values) {
    return new UNet2DCondition(Weights.init(Rng.seed(0)), UNet2DConditionConfig.of(values));
  }

  @Test
  void stableDiffusion15HasTheReferencesNamesShapesAndOrder() throws IOException {
    List<String> expected =
        Files.readAllLines(Path.of("src/test/resources/keys/unet2d_condition_sd15.txt"));
    try (Scope scope = Scope.open();
        UNet2DCondition unet =
            new UNet2DCondition(
                Weights.meta(), UNet2DConditionConfig.of(Map.of("cross_attention_dim", 768)))) {
      List<String> actual = new ArrayList<>();
      for (Parameter p : unet.parameters()) {
        actual.add(p.name() + "\t" + p.value().shape().toString().replace(" ", ""));
      }
      assertEquals(expected, actual);
      assertEquals(686, actual.size());
      assertEquals(859_520_964, unet.parameterCount());
    }
  }

  /** The sizes that the models' authors give: 865.91 million and 2567.46 million. */
  @Test
  void stableDiffusion2AndXlHaveTheirNumbersOfParameters() {
    Map<String, Object> sd2 = new HashMap<>();
    with(sd2, "attention_head_dim", List.of(5, 10, 20, 20), "cross_attention_dim", 1024);
    with(sd2, "use_linear_projection", true);
    assertEquals(865_910_724, parameters(sd2));
    assertEquals(2_567_463_684L, parameters(xl()));
  }

  static Map<String, Object> xl() {
    Map<String, Object> values = new HashMap<>();
    with(values, "block_out_channels", List.of(320, 640, 1280));
    with(
        values,
        "down_block_types",
        List.of("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"));
    with(
        values, "up_block_types", List.of("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"));
    with(values, "transformer_layers_per_block", List.of(1, 2, 10));
    with(values, "attention_head_dim", List.of(5, 10, 20), "cross_attention_dim", 2048);
    with(values, "use_linear_projection", true, "addition_embed_type", "text_time");
    with(values, "addition_time_embed_dim", 256, "projection_class_embeddings_input_dim", 2816);
    return values;
  }

  private static long parameters(Map<String, Object> values) {
    try (Scope scope = Scope.open();
        var unet = new UNet2DCondition(Weights.meta(), UNet2DConditionConfig.of(values))) {
      return unet.parameterCount();
    }
  }

  @Test
  void everyKeyOfTheReferenceIsWrittenAsItWasRead() throws IOException {
    Path file = Path.of("src/test/resources/golden/models/unet2d_condition/config.json");
    UNet2DConditionConfig config = UNet2DConditionConfig.read(file);
    ModelConfig.write(folder.resolve("config.json"), config.toMap());
    assertEquals(Files.readString(file), Files.readString(folder.resolve("config.json")));
    Map<String, Object> values = xl();
    with(values, "sample_size", List.of(96, 128), "layers_per_block", List.of(1, 2, 2));
    with(values, "transformer_layers_per_block", List.of(1, List.of(1, 2), List.of(3, 2)));
    with(
        values,
        "reverse_transformer_layers_per_block",
        List.of(List.of(3, 2, 1), 2, List.of(1, 1)));
    with(values, "only_cross_attention", List.of(true, false, false), "norm_eps", 1e-6);
    UNet2DConditionConfig nested = UNet2DConditionConfig.of(values);
    ModelConfig.write(folder.resolve("config.json"), nested.toMap());
    assertEquals(nested, UNet2DConditionConfig.read(folder.resolve("config.json")));
    values.forEach((key, value) -> assertEquals(value, nested.toMap().get(key), key));
  }

  @Test
  void nestedNumbersOfBlocksAreHonoured() {
    Map<String, Object> values =
        with(
            small(),
            "transformer_layers_per_block",
            List.of(List.of(2), 1),
            "reverse_transformer_layers_per_block",
            List.of(1, List.of(3, 1)));
    try (UNet2DCondition unet = model(values)) {
      Set<String> blocks = new TreeSet<>();
      for (Parameter p : unet.parameters()) {
        if (p.name().endsWith("attn2.to_q.weight")) {
          blocks.add(p.name().replace(".attn2.to_q.weight", ""));
        }
      }
      assertEquals(
          Set.of(
              "down_blocks.0.attentions.0.transformer_blocks.0",
              "down_blocks.0.attentions.0.transformer_blocks.1",
              "mid_block.attentions.0.transformer_blocks.0",
              "up_blocks.1.attentions.0.transformer_blocks.0",
              "up_blocks.1.attentions.0.transformer_blocks.1",
              "up_blocks.1.attentions.0.transformer_blocks.2",
              "up_blocks.1.attentions.1.transformer_blocks.0"),
          blocks);
    }
  }

  @ParameterizedTest
  @CsvSource({"8, 8", "7, 8", "9, 5", "1, 3"})
  void oddSizesComeBack(int height, int width) {
    for (int padding : new int[] {0, 1}) {
      if (padding == 0 && height == 1) {
        continue; // nothing is left of a row that is halved without padding above it
      }
      try (UNet2DCondition unet = model(with(small(), "downsample_padding", padding));
          Scope scope = Scope.open()) {
        Tensor x = Rng.seed(1).normal(2, 4, height, width);
        Tensor y = unet.call(x, T, Context.of(Rng.seed(2).normal(2, 3, 6)));
        assertEquals(x.shape(), y.shape());
        for (float v : y.toFloatArray()) {
          assertTrue(Float.isFinite(v));
        }
      }
    }
  }

  @Test
  void levelsThatCannotReturnToOddSizesSaySo() {
    Map<String, Object> values =
        with(
            small(),
            "down_block_types",
            List.of("CrossAttnDownBlock2D", "ResnetDownsampleBlock2D"),
            "up_block_types",
            List.of("ResnetUpsampleBlock2D", "CrossAttnUpBlock2D"));
    try (UNet2DCondition unet = model(values);
        Scope scope = Scope.open()) {
      Context context = Context.of(Tensor.zeros(1, 3, 6));
      assertMessage(
          "divisible by 2",
          ShapeException.class,
          () -> unet.call(Tensor.zeros(1, 4, 8, 7), T, context));
      assertEquals(
          "[1, 4, 8, 6]", unet.call(Tensor.zeros(1, 4, 8, 6), T, context).shape().toString());
    }
  }

  @Test
  void everyKindOfConditioningRunsAndIsDemanded() {
    Tensor none = null;
    for (String type :
        List.of("table", "timestep", "identity", "projection", "simple_projection")) {
      for (boolean joined : new boolean[] {false, true}) {
        Map<String, Object> values = with(small(), "class_embeddings_concat", joined);
        with(values, "time_embedding_type", joined ? "fourier" : "positional");
        with(values, "time_embedding_act_fn", joined ? "silu" : null, "timestep_post_act", "gelu");
        if (type.equals("table")) {
          with(values, "num_class_embeds", 3);
        } else {
          with(values, "class_embed_type", type, "projection_class_embeddings_input_dim", 5);
        }
        int width = joined ? 16 : 32;
        try (UNet2DCondition unet = model(values);
            Scope scope = Scope.open()) {
          Tensor labels =
              switch (type) {
                case "table" -> Tensor.of(new long[] {0, 2}, 2);
                case "timestep" -> Tensor.of(new float[] {1, 2}, 2);
                case "identity" -> Rng.seed(3).normal(2, width);
                default -> Rng.seed(3).normal(2, 5);
              };
          Tensor x = Rng.seed(1).normal(2, 4, 8, 8);
          Context context = Context.of(Rng.seed(2).normal(2, 3, 6));
          Tensor y = unet.call(x, T, context, UNetConditions.none().classes(labels));
          Tensor other = unet.call(x, T, context, UNetConditions.none().classes(flipped(labels)));
          assertFalse(Arrays.equals(y.toFloatArray(), other.toFloatArray()), type);
          assertMessage(
              "classes must be given",
              IllegalArgumentException.class,
              () -> unet.call(x, T, context, UNetConditions.none().classes(none)));
        }
      }
    }
  }

  private static Tensor flipped(Tensor labels) {
    return io.sfumato.tensor.ops.Shaping.flip(labels, 0);
  }

  @Test
  void guidanceTextAndProjectedContextsMatter() {
    Map<String, Object> values = with(small(), "time_cond_proj_dim", 4, "encoder_hid_dim", 10);
    with(values, "addition_embed_type", "text_time", "addition_time_embed_dim", 2);
    with(values, "projection_class_embeddings_input_dim", 17);
    try (UNet2DCondition unet = model(values);
        UNet2DCondition plain = model(small());
        Scope scope = Scope.open()) {
      Tensor x = Rng.seed(1).normal(2, 4, 8, 8);
      Context context = Context.of(Rng.seed(2).normal(2, 3, 10));
      Tensor pooled = Rng.seed(3).normal(2, 5);
      Tensor sizes = Tensor.of(new float[] {64, 64, 0, 0, 64, 64, 32, 32, 1, 2, 64, 64}, 2, 6);
      UNetConditions text = UNetConditions.none().text(pooled, sizes);
      float[] y = unet.call(x, T, context, text).toFloatArray();
      assertArrayEquals(y, unet.call(x, T, unet.prepare(context), text).toFloatArray());
      UNetConditions guided = text.guidance(Rng.seed(4).normal(2, 4));
      assertFalse(Arrays.equals(y, unet.call(x, T, context, guided).toFloatArray()));
      UNetConditions moved = UNetConditions.none().text(pooled, sizes.add(1));
      assertFalse(Arrays.equals(y, unet.call(x, T, context, moved).toFloatArray()));
      assertMessage(
          "text_embeds must be given",
          IllegalArgumentException.class,
          () -> unet.call(x, T, context));
      Context small = Context.of(Tensor.zeros(2, 3, 6));
      assertMessage(
          "time_cond_proj_dim",
          IllegalArgumentException.class,
          () -> plain.call(x, T, small, UNetConditions.none().guidance(Rng.seed(4).normal(2, 4))));
      assertMessage(
          "prepared for another model",
          IllegalArgumentException.class,
          () -> plain.call(x, T, unet.prepare(context)));
    }
  }

  @Test
  void residualsAreAddedToEachResultOfTheWayDown() {
    try (UNet2DCondition unet = model(small());
        Scope scope = Scope.open()) {
      Tensor x = Rng.seed(1).normal(1, 4, 8, 8);
      Context context = Context.of(Rng.seed(2).normal(1, 3, 6));
      List<Tensor> down =
          new ArrayList<>(
              List.of(
                  Tensor.zeros(1, 8, 8, 8),
                  Tensor.zeros(1, 8, 8, 8),
                  Tensor.zeros(1, 8, 4, 4),
                  Tensor.zeros(1, 16, 4, 4)));
      Tensor mid = Tensor.zeros(1, 16, 4, 4);
      float[] y = unet.call(x, T, context).toFloatArray();
      UNetConditions nothing = UNetConditions.none().residuals(down, mid);
      assertArrayEquals(y, unet.call(x, T, context, nothing).toFloatArray());
      for (int i = 0; i < down.size(); i++) {
        List<Tensor> some = new ArrayList<>(down);
        some.set(i, Rng.seed(5).normal(down.get(i).shape().dims()));
        UNetConditions more = UNetConditions.none().residuals(some, mid);
        assertFalse(Arrays.equals(y, unet.call(x, T, context, more).toFloatArray()), "" + i);
      }
      UNetConditions middle = UNetConditions.none().residuals(down, mid.add(1));
      assertFalse(Arrays.equals(y, unet.call(x, T, context, middle).toFloatArray()));
      down.removeLast();
      UNetConditions few = UNetConditions.none().residuals(down, mid);
      assertMessage(
          "one residual for each of the 4",
          IllegalArgumentException.class,
          () -> unet.call(x, T, context, few));
    }
  }

  @Test
  void wrongInputsAreNamed() {
    try (UNet2DCondition unet = model(small());
        Scope scope = Scope.open()) {
      Tensor x = Tensor.zeros(2, 4, 8, 8);
      Context context = Context.of(Tensor.zeros(2, 3, 6));
      assertMessage(
          "sample must be [B, 4, H, W]",
          ShapeException.class,
          () -> unet.call(Tensor.zeros(2, 3, 8, 8), T, context));
      assertMessage(
          "one per sample", ShapeException.class, () -> unet.call(x, new double[3], context));
      assertMessage(
          "one row of states per sample",
          ShapeException.class,
          () -> unet.call(x, T, Context.of(Tensor.zeros(1, 3, 6))));
      assertMessage(
          "down_blocks.0.attentions.0.transformer_blocks.0.attn2: the context must be [B, L, 6]",
          ShapeException.class,
          () -> unet.call(x, T, Context.of(Tensor.zeros(2, 3, 7))));
      assertMessage("needs a context", IllegalArgumentException.class, () -> unet.call(x, T, null));
      assertMessage(
          "classes must be given exactly",
          IllegalArgumentException.class,
          () -> unet.call(x, T, context, UNetConditions.none().classes(Tensor.zeros(2))));
    }
  }

  private static void assertMessage(
      String part, Class<? extends RuntimeException> kind, Runnable body) {
    String message = String.valueOf(assertThrows(kind, body::run).getMessage());
    assertTrue(message.contains(part), message);
  }

  @Test
  void everythingWrongWithAConfigurationIsOneError() {
    Map<String, Object> values =
        with(
            small(),
            "attention_type",
            "gated",
            "dual_cross_attention",
            true,
            "cross_attention_norm",
            "layer_norm",
            "num_attention_heads",
            8,
            "resnet_skip_time_act",
            true,
            "resnet_out_scale_factor",
            2);
    with(values, "norm_num_groups", 5, "conv_in_kernel", 2, "time_embedding_type", "learned");
    with(values, "addition_embed_type", "image", "encoder_hid_dim_type", "image_proj");
    with(values, "dropout", "none", "sample_sise", 64, "attention_head_dim", 3);
    with(values, "mid_block_type", "UNetMidBlock2DSimpleCrossAttn");
    String message =
        assertThrows(IllegalArgumentException.class, () -> UNet2DConditionConfig.of(values))
            .getMessage();
    for (String part :
        List.of(
            "attention_type",
            "dual_cross_attention",
            "cross_attention_norm",
            "num_attention_heads",
            "resnet_skip_time_act",
            "resnet_out_scale_factor",
            "norm_num_groups 5",
            "conv_in_kernel",
            "time_embedding_type",
            "addition_embed_type",
            "encoder_hid_dim_type",
            "encoder_hid_dim must be given",
            "dropout must be a number",
            "sample_sise",
            "attention_head_dim 3",
            "UNetMidBlock2DSimpleCrossAttn")) {
      assertTrue(message.contains(part), part + " in " + message);
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "down_block_types | SimpleCrossAttnDownBlock2D",
        "down_block_types | SkipDownBlock2D",
        "down_block_types | KCrossAttnDownBlock2D",
        "up_block_types | SimpleCrossAttnUpBlock2D",
        "up_block_types | AttnSkipUpBlock2D"
      })
  void otherKindsOfLevelsAreRefusedByName(String key, String kind) {
    Map<String, Object> values = with(small(), key, List.of(kind, kind));
    assertMessage(kind, IllegalArgumentException.class, () -> UNet2DConditionConfig.of(values));
  }

  @Test
  void checkpointedGradientsAreTheSameAndKeepLess() {
    try (UNet2DCondition unet = model(with(small(), "layers_per_block", 2));
        Scope scope = Scope.open()) {
      Tensor x = Rng.seed(1).normal(2, 4, 32, 32);
      Context context = Context.of(Rng.seed(2).normal(2, 3, 6));
      // Only some parameters train, so that much of what is computed is not tracked.
      List<Parameter> some =
          unet.parameters().stream().filter(p -> p.name().contains("attn2.to_k")).toList();
      for (List<Parameter> wanted : List.of(unet.parameters(), some)) {
        long[] peaks = new long[2];
        List<float[]> gradients = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
          boolean checkpointed = i == 1;
          CpuBackend.instance().resetPeak();
          try (Scope step = Scope.open()) {
            var result =
                Autograd.valueAndGrad(
                    wanted,
                    () ->
                        checkpointed
                            ? GradientCheckpointing.active(() -> loss(unet, x, context))
                            : loss(unet, x, context));
            peaks[i] = CpuBackend.instance().memory().peak();
            gradients.add(result.value().toFloatArray());
            wanted.forEach(p -> gradients.add(result.gradients().get(p).toFloatArray()));
          }
        }
        int n = 1 + wanted.size();
        for (int i = 0; i < n; i++) {
          assertArrayEquals(gradients.get(i), gradients.get(n + i));
        }
        assertTrue(peaks[1] < 0.7 * peaks[0], Arrays.toString(peaks));
      }
    }
  }

  private static Tensor loss(UNet2DCondition unet, Tensor x, Context context) {
    return unet.call(x, T, context).square().sum();
  }

  @Test
  void aBlockRunsFusedOpsWithoutCopies() {
    try (UNet2DCondition unet = model(small());
        Scope scope = Scope.open()) {
      Tensor x = Rng.seed(1).normal(2, 4, 8, 8);
      Context context = unet.prepare(Context.of(Rng.seed(2).normal(2, 3, 6)));
      Trace trace = Trace.of(() -> unet.call(x, T, context));
      List<String> ops = new ArrayList<>();
      for (Trace.Event e : trace.events()) {
        boolean view = e.op() instanceof ViewOp || e.op() instanceof ViewsOp;
        if (!view && e.path().startsWith("down_blocks.0")) {
          ops.add(e.op().name());
        }
      }
      List<String> resnet =
          List.of("group_norm_silu", "conv2d", "add", "group_norm_silu", "conv2d");
      List<String> expected = new ArrayList<>(List.of("linear")); // of time, for all blocks at once
      expected.addAll(resnet);
      expected.add("add");
      expected.addAll(List.of("group_norm", "conv2d"));
      expected.addAll(
          List.of("layer_norm", "linear", "linear", "linear", "attention", "linear", "add"));
      expected.addAll(List.of("layer_norm", "linear", "attention", "linear", "add"));
      expected.addAll(List.of("layer_norm", "linear", "gated_unit_gelu", "linear", "add"));
      expected.addAll(List.of("conv2d", "add", "conv2d"));
      assertEquals(expected, ops);
    }
  }
}
