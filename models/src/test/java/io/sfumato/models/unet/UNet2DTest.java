// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.nn.Activation;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.ModulePath;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.io.WeightsException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class UNet2DTest {
  @TempDir Path folder;

  private static UNet2DConfig.Builder small() {
    return UNet2DConfig.builder()
        .imageChannels(1)
        .levels(List.of(8, 16), List.of(false, true))
        .layersPerBlock(1)
        .normNumGroups(4);
  }

  private static UNet2D model(UNet2DConfig config) {
    return new UNet2D(Weights.init(Rng.seed(0)), config);
  }

  @Test
  void theDefaultModelHasTheReferencesNamesAndShapes() throws IOException {
    Map<String, String> expected = new LinkedHashMap<>(); // in the reference's order, for shards
    try (var lines = Files.lines(Path.of("src/test/resources/keys/unet2d.txt").toAbsolutePath())) {
      lines.forEach(l -> expected.put(l.split("\t")[0], l.split("\t")[1]));
    }
    try (Scope scope = Scope.open();
        UNet2D unet = new UNet2D(Weights.meta(), UNet2DConfig.builder().build())) {
      Map<String, String> actual = new LinkedHashMap<>();
      for (Parameter p : unet.parameters()) {
        actual.put(p.name(), p.value().shape().toString().replace(" ", ""));
      }
      assertEquals(List.copyOf(expected.entrySet()), List.copyOf(actual.entrySet()));
      assertEquals(432, actual.size());
      assertEquals(274_056_163, unet.parameterCount());
    }
  }

  @Test
  void everyKindOfConditioningAndResamplingRuns() {
    for (String time : List.of("positional", "fourier", "learned")) {
      for (String shift : List.of("default", "scale_shift")) {
        for (String resample : List.of("conv", "resnet")) {
          var json =
              com.fasterxml.jackson.databind.node.JsonNodeFactory.instance
                  .objectNode()
                  .put("time_embedding_type", time)
                  .put("resnet_time_scale_shift", shift)
                  .put("downsample_type", resample)
                  .put("upsample_type", resample)
                  .put("num_train_timesteps", 1000)
                  .put("class_embed_type", "timestep")
                  .put("norm_num_groups", 4)
                  .put("layers_per_block", 1)
                  .put("downsample_padding", 0);
          json.putArray("block_out_channels").add(8).add(16).add(16);
          json.putArray("down_block_types")
              .add("AttnDownBlock2D")
              .add("ResnetDownsampleBlock2D")
              .add("DownBlock2D");
          json.putArray("up_block_types")
              .add("UpBlock2D")
              .add("AttnUpBlock2D")
              .add("ResnetUpsampleBlock2D");
          try (UNet2D unet = model(UNet2DConfig.fromJson(json, "test"));
              Scope scope = Scope.open()) {
            Tensor y =
                unet.call(
                    Rng.seed(1).normal(2, 3, 8, 12),
                    new double[] {3, 700},
                    Tensor.of(new float[] {1, 2}, 2));
            assertEquals("[2, 3, 8, 12]", y.shape().toString());
            for (float v : y.toFloatArray()) {
              assertTrue(Float.isFinite(v));
            }
          }
        }
      }
    }
  }

  @Test
  void classesMustBeGivenExactlyWhenTheModelHasThem() {
    try (UNet2D with = model(small().numClassEmbeds(3).build());
        UNet2D without = model(small().build());
        Scope scope = Scope.open()) {
      Tensor x = Tensor.zeros(2, 1, 8, 8);
      Tensor labels = Tensor.of(new long[] {0, 2}, 2);
      double[] t = {5};
      assertEquals("[2, 1, 8, 8]", with.call(x, t, labels).shape().toString());
      assertThrows(IllegalArgumentException.class, () -> with.call(x, t));
      assertThrows(IllegalArgumentException.class, () -> without.call(x, t, labels));
    }
  }

  @Test
  void wrongInputsAreNamed() {
    try (UNet2D unet = model(small().build());
        Scope scope = Scope.open()) {
      double[] t = {5};
      assertMessage("sample must be [B, 1, H, W]", () -> unet.call(Tensor.zeros(2, 3, 8, 8), t));
      assertMessage("divisible by 2", () -> unet.call(Tensor.zeros(2, 1, 8, 7), t));
      assertMessage(
          "one per sample", () -> unet.call(Tensor.zeros(2, 1, 8, 8), new double[] {1, 2, 3}));
    }
  }

  private static void assertMessage(String part, Runnable body) {
    ShapeException e = assertThrows(ShapeException.class, body::run);
    assertTrue(e.getMessage().contains(part), e.getMessage());
  }

  @Test
  void aWrongConfigurationIsReportedAsAWhole() {
    var json =
        com.fasterxml.jackson.databind.node.JsonNodeFactory.instance
            .objectNode()
            .put("time_embedding_type", "cosine")
            .put("norm_num_groups", 5)
            .put("dropout", 2)
            .put("act_fn", "swoosh");
    json.putArray("down_block_types").add("DownBlock3D");
    String message =
        assertThrows(IllegalArgumentException.class, () -> UNet2DConfig.fromJson(json, "test"))
            .getMessage();
    for (String part :
        List.of("cosine", "norm_num_groups 5", "dropout", "swoosh", "DownBlock3D", "per level")) {
      assertTrue(message.contains(part), part + " in " + message);
    }
    json.removeAll();
    json.put("in_channels", "three").put("center_input_sample", 1);
    message =
        assertThrows(IllegalArgumentException.class, () -> UNet2DConfig.fromJson(json, "test"))
            .getMessage();
    assertTrue(message.contains("in_channels must be an integer"), message);
    assertTrue(message.contains("center_input_sample must be true or false"), message);
  }

  @Test
  void loadingIsStrictBothWays(@TempDir Path folder) {
    UNet2DConfig config = small().build();
    try (UNet2D unet = model(config)) {
      unet.save(folder);
      Path file = folder.resolve("diffusion_pytorch_model.safetensors");
      Map<String, Tensor> dict = new LinkedHashMap<>(unet.stateDict());
      Tensor bias = dict.remove("conv_in.bias");
      SafeTensors.save(file, dict);
      String missing = assertThrows(WeightsException.class, () -> UNet2D.open(folder)).getMessage();
      assertTrue(missing.contains("\"conv_in.bias\" is missing"), missing);
      dict.put("conv_in.bias", bias);
      dict.put("conv_in.extra", bias);
      SafeTensors.save(file, dict);
      String unused = assertThrows(WeightsException.class, () -> UNet2D.open(folder)).getMessage();
      assertTrue(unused.contains("conv_in.extra"), unused);
    }
  }

  @Test
  void namesDoNotDependOnTheBatchOrSize() {
    try (UNet2D a = model(small().build());
        UNet2D b = model(small().sampleSize(64).build())) {
      Set<String> names = new TreeSet<>(a.stateDict().keySet());
      assertEquals(names, new TreeSet<>(b.stateDict().keySet()));
    }
  }

  @Test
  void configurationsPrintAsPythonDoes() {
    assertEquals(1, ModelConfig.wholeIfPossible(1.0));
    assertEquals(0.5, ModelConfig.wholeIfPossible(0.5));
  }

  /** Each level, both ways, and its layers say where they are. */
  @Test
  void errorsNameTheModule() {
    Weights weights = Weights.init(Rng.seed(0));
    Deque<Tensor> skips = new ArrayDeque<>();
    try (Scope scope = Scope.open();
        var down =
            new UNetBlocks.DownBlock(
                weights.at("down_blocks.0"), level(1, 8, 8, UNetBlocks.Resampler.CONV));
        var up =
            new UNetBlocks.UpBlock(
                weights.at("up_blocks.1"), level(2, 8, 16, UNetBlocks.Resampler.NONE))) {
      TimeProjections temb = TimeProjections.of(Tensor.zeros(1, 32));
      assertPath(
          "down_blocks.0.resnets.0.norm1",
          () -> down.call(Tensor.zeros(1, 12, 4, 4), temb, null, skips));
      assertPath(
          "down_blocks.0.resnets.0.time_emb_proj",
          () ->
              down.call(
                  Tensor.zeros(1, 8, 4, 4), TimeProjections.of(Tensor.zeros(1, 31)), null, skips));
      // A level's own op: the skip is of another size.
      skips.push(Tensor.zeros(1, 8, 2, 2));
      assertPath("up_blocks.1", () -> up.call(Tensor.zeros(1, 16, 4, 4), temb, null, skips));
      assertEquals("", ModulePath.current());
    }
  }

  private static UNetBlocks.Level level(
      int layers, int in, int previous, UNetBlocks.Resampler resampler) {
    var options = new ResnetBlock2D.Options(32, 4, 1e-5, Activation.parse("silu"), 0, false, 1);
    return new UNetBlocks.Level(layers, in, previous, 8, options, null, resampler, 1);
  }

  private static void assertPath(String path, Executable call) {
    String message = String.valueOf(assertThrows(ShapeException.class, call).getMessage());
    assertTrue(message.endsWith("at " + path), message);
  }

  @Test
  void shardsAreReadAsOneModel() {
    try (UNet2D unet = model(small().build());
        Scope scope = Scope.open()) {
      unet.save(folder, 3 * unet.parameterCount()); // of 4 bytes per value
      assertTrue(
          Files.exists(folder.resolve("diffusion_pytorch_model-00001-of-00002.safetensors")),
          "two shards");
      assertTrue(Files.exists(folder.resolve("diffusion_pytorch_model.safetensors.index.json")));
      try (UNet2D again = UNet2D.open(folder)) {
        Map<String, Tensor> expected = unet.stateDict();
        again
            .stateDict()
            .forEach((n, t) -> assertArrayEquals(expected.get(n).toFloatArray(), t.toFloatArray()));
        assertEquals(expected.keySet(), again.stateDict().keySet());
      }
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "time_embedding_type | \"rotary\"",
        "time_embedding_type | \"learned\"",
        "down_block_types | [\"SkipDownBlock2D\", \"DownBlock2D\"]",
        "up_block_types | [\"AttnSkipUpBlock2D\", \"UpBlock2D\"]",
        "mid_block_type | \"UNetMidBlock2DCrossAttn\"",
        "downsample_type | \"pool\"",
        "upsample_type | 1",
        "downsample_padding | 2",
        "resnet_time_scale_shift | \"ada_group\"",
        "class_embed_type | \"projection\"",
        "num_class_embeds | 0",
        "attn_norm_num_groups | 3",
        "attention_head_dim | 3",
        "norm_num_groups | 5",
        "norm_eps | 0",
        "mid_block_scale_factor | 0",
        "act_fn | \"cube\"",
        "dropout | 1",
        "layers_per_block | 0",
        "add_attention | 1",
        "center_input_sample | \"yes\"",
        "block_out_channels | [8, 17]",
        "in_channels | 0",
        "time_embedding_dim | -1"
      })
  void aValueThatIsNotHonouredIsRefusedByName(String key, String value) throws IOException {
    Map<String, Object> config = new TreeMap<>(small().build().toMap());
    Path file = folder.resolve("config.json");
    ModelConfig.write(file, config);
    UNet2DConfig.read(file);
    String json = Files.readString(file);
    String former = "\"" + key + "\": (\\[[^]]*]|[^,\n]*)";
    Files.writeString(
        file, json.replaceFirst(former, Matcher.quoteReplacement("\"" + key + "\": " + value)));
    var e = assertThrows(IllegalArgumentException.class, () -> UNet2DConfig.read(file));
    assertTrue(String.valueOf(e.getMessage()).contains(key), e.getMessage());
  }
}
