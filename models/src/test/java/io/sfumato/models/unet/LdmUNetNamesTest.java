// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.Weights;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LdmUNetNamesTest {
  @TempDir Path folder;

  /**
   * The original network built as its repositories do (ldm/modules/diffusionmodules/openaimodel.py,
   * UNetModel), with nothing but names and shapes.
   */
  private static final class Original {
    final Map<String, String> shapes = new TreeMap<>();
    private final int time;
    private final int context;
    private final boolean linear;

    Original(int width, int[] mult, int[] depths, int context, boolean linear, int labels) {
      this.time = 4 * width;
      this.context = context;
      this.linear = linear;
      product("time_embed.0", time, width);
      product("time_embed.2", time, time);
      if (labels > 0) {
        product("label_emb.0.0", time, labels);
        product("label_emb.0.2", time, time);
      }
      conv("input_blocks.0.0", width, 4, 3);
      Deque<Integer> widths = new ArrayDeque<>(List.of(width));
      int ch = width;
      int n = 1;
      for (int level = 0; level < mult.length; level++) {
        for (int i = 0; i < 2; i++, n++) {
          resnet("input_blocks." + n + ".0", ch, mult[level] * width);
          ch = mult[level] * width;
          transformer("input_blocks." + n + ".1", ch, depths[level]);
          widths.push(ch);
        }
        if (level < mult.length - 1) {
          conv("input_blocks." + n++ + ".0.op", ch, ch, 3);
          widths.push(ch);
        }
      }
      resnet("middle_block.0", ch, ch);
      transformer("middle_block.1", ch, Math.max(1, depths[mult.length - 1]));
      resnet("middle_block.2", ch, ch);
      n = 0;
      for (int level = mult.length - 1; level >= 0; level--) {
        for (int i = 0; i < 3; i++, n++) {
          int place = 1;
          resnet("output_blocks." + n + ".0", ch + widths.pop(), mult[level] * width);
          ch = mult[level] * width;
          if (depths[level] > 0) {
            transformer("output_blocks." + n + "." + place++, ch, depths[level]);
          }
          if (level > 0 && i == 2) {
            conv("output_blocks." + n + "." + place + ".conv", ch, ch, 3);
          }
        }
      }
      norm("out.0", width);
      conv("out.2", 4, width, 3);
    }

    private void put(String name, Integer... shape) {
      shapes.put("model.diffusion_model." + name, List.of(shape).toString().replace(" ", ""));
    }

    private void norm(String name, int c) {
      put(name + ".weight", c);
      put(name + ".bias", c);
    }

    private void product(String name, int out, int in) {
      put(name + ".weight", out, in);
      put(name + ".bias", out);
    }

    private void conv(String name, int out, int in, int kernel) {
      put(name + ".weight", out, in, kernel, kernel);
      put(name + ".bias", out);
    }

    private void resnet(String name, int in, int out) {
      norm(name + ".in_layers.0", in);
      conv(name + ".in_layers.2", out, in, 3);
      product(name + ".emb_layers.1", out, time);
      norm(name + ".out_layers.0", out);
      conv(name + ".out_layers.3", out, out, 3);
      if (in != out) {
        conv(name + ".skip_connection", out, in, 1);
      }
    }

    private void transformer(String name, int c, int depth) {
      if (depth == 0) {
        return;
      }
      norm(name + ".norm", c);
      for (String side : List.of("proj_in", "proj_out")) {
        if (linear) {
          product(name + "." + side, c, c);
        } else {
          conv(name + "." + side, c, c, 1);
        }
      }
      for (int k = 0; k < depth; k++) {
        String block = name + ".transformer_blocks." + k;
        for (int i = 1; i <= 3; i++) {
          norm(block + ".norm" + i, c);
        }
        for (int i = 1; i <= 2; i++) {
          put(block + ".attn" + i + ".to_q.weight", c, c);
          put(block + ".attn" + i + ".to_k.weight", c, i == 1 ? c : context);
          put(block + ".attn" + i + ".to_v.weight", c, i == 1 ? c : context);
          product(block + ".attn" + i + ".to_out.0", c, c);
        }
        product(block + ".ff.net.0.proj", 8 * c, c);
        product(block + ".ff.net.2", c, 4 * c);
      }
    }
  }

  private static void compare(Original original, UNet2DConditionConfig config) {
    LdmUNetNames names = LdmUNetNames.of(config);
    Map<String, String> mapped = new TreeMap<>();
    try (Scope scope = Scope.open();
        UNet2DCondition unet = new UNet2DCondition(Weights.meta(), config)) {
      for (Parameter p : unet.parameters()) {
        String ldm = names.toLdm(p.name()).orElseThrow();
        assertEquals(Optional.of(p.name()), names.toDiffusers(ldm));
        mapped.put(ldm, p.value().shape().toString().replace(" ", ""));
      }
    }
    assertEquals(original.shapes, mapped);
    assertEquals(mapped.size(), names.all().size());
  }

  @Test
  void stableDiffusion15() throws IOException {
    UNet2DConditionConfig config = UNet2DConditionConfig.of(Map.of("cross_attention_dim", 768));
    compare(
        new Original(320, new int[] {1, 2, 4, 4}, new int[] {1, 1, 1, 0}, 768, false, 0), config);
    LdmUNetNames names = LdmUNetNames.of(config);
    List<String> keys =
        Files.readAllLines(Path.of("src/test/resources/keys/unet2d_condition_sd15.txt"));
    assertEquals(
        keys.stream().map(k -> k.split("\t")[0]).toList(), List.copyOf(names.all().keySet()));
    Map<String, String> known = new LinkedHashMap<>();
    known.put("down_blocks.0.downsamplers.0.conv.weight", "input_blocks.3.0.op.weight");
    known.put("down_blocks.2.attentions.1.norm.bias", "input_blocks.8.1.norm.bias");
    known.put("down_blocks.3.resnets.1.conv2.weight", "input_blocks.11.0.out_layers.3.weight");
    known.put("up_blocks.0.upsamplers.0.conv.bias", "output_blocks.2.1.conv.bias");
    known.put("up_blocks.2.upsamplers.0.conv.bias", "output_blocks.8.2.conv.bias");
    known.put(
        "up_blocks.3.resnets.2.conv_shortcut.bias", "output_blocks.11.0.skip_connection.bias");
    known.forEach(
        (diffusers, ldm) ->
            assertEquals(Optional.of(LdmUNetNames.PREFIX + ldm), names.toLdm(diffusers)));
    assertEquals(Optional.empty(), names.toDiffusers("first_stage_model.quant_conv.weight"));
  }

  @Test
  void stableDiffusion2AndXl() {
    compare(
        new Original(320, new int[] {1, 2, 4, 4}, new int[] {1, 1, 1, 0}, 1024, true, 0),
        UNet2DConditionConfig.of(
            Map.of(
                "attention_head_dim",
                List.of(5, 10, 20, 20),
                "cross_attention_dim",
                1024,
                "use_linear_projection",
                true)));
    compare(
        new Original(320, new int[] {1, 2, 4}, new int[] {0, 2, 10}, 2048, true, 2816),
        UNet2DConditionConfig.of(UNet2DConditionTest.xl()));
  }

  @Test
  void aCheckpointIsReadUnderItsNames() {
    UNet2DConditionConfig config = UNet2DConditionConfig.of(UNet2DConditionTest.small());
    LdmUNetNames names = LdmUNetNames.of(config);
    Path file = folder.resolve("model.safetensors");
    try (Scope scope = Scope.open();
        UNet2DCondition unet = new UNet2DCondition(Weights.init(Rng.seed(0)), config)) {
      Map<String, Tensor> stored = new LinkedHashMap<>();
      unet.stateDict().forEach((name, t) -> stored.put(names.toLdm(name).orElseThrow(), t));
      SafeTensors.save(file, stored);
      try (Weights weights =
              Weights.open(file).rename(name -> names.toDiffusers(name).orElse(name));
          UNet2DCondition again = new UNet2DCondition(weights, config)) {
        weights.requireAllUsed();
        Map<String, Tensor> expected = unet.stateDict();
        again
            .stateDict()
            .forEach(
                (n, t) ->
                    assertTrue(
                        java.util.Arrays.equals(expected.get(n).toFloatArray(), t.toFloatArray()),
                        n));
      }
    }
  }

  @Test
  void modelsThatTheOriginalCannotNameAreRefused() {
    Map<String, Object> values = UNet2DConditionTest.small();
    values.put("time_cond_proj_dim", 4);
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () -> LdmUNetNames.of(UNet2DConditionConfig.of(values)))
            .getMessage();
    assertTrue(message.contains("time_embedding.cond_proj.weight"), message);
    values.put("mid_block_type", "UNetMidBlock2D");
    message =
        assertThrows(
                IllegalArgumentException.class,
                () -> LdmUNetNames.of(UNet2DConditionConfig.of(values)))
            .getMessage();
    assertTrue(message.contains("UNetMidBlock2D"), message);
  }
}
