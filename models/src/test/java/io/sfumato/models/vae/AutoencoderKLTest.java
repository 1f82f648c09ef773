// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.CpuBackend;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.TensorFileException;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.io.WeightsException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class AutoencoderKLTest {
  @TempDir Path folder;

  static AutoencoderKLConfig.Builder small() {
    return AutoencoderKLConfig.builder()
        .imageChannels(1)
        .levels(List.of(4, 8, 8))
        .normNumGroups(2)
        .latentChannels(2);
  }

  /** The autoencoder of Stable Diffusion 1 and 2. */
  static AutoencoderKLConfig stableDiffusion() {
    return AutoencoderKLConfig.builder()
        .levels(List.of(128, 256, 512, 512))
        .layersPerBlock(2)
        .sampleSize(512)
        .build();
  }

  private static AutoencoderKL model(AutoencoderKLConfig config) {
    return new AutoencoderKL(Weights.init(Rng.seed(0)), config);
  }

  static Map<String, String> shapes(List<Parameter> parameters) {
    Map<String, String> shapes = new TreeMap<>();
    for (Parameter p : parameters) {
      shapes.put(p.name(), p.value().shape().toString().replace(" ", ""));
    }
    return shapes;
  }

  /** Counts of a run of diffusers; names and shapes of make_autoencoders.py. */
  @Test
  void theModelOfStableDiffusionHasTheReferencesNamesAndShapes() throws IOException {
    Map<String, String> expected = new TreeMap<>();
    try (var lines = Files.lines(Path.of("src/test/resources/keys/autoencoder_kl.txt"))) {
      lines.forEach(l -> expected.put(l.split("\t")[0], l.split("\t")[1]));
    }
    long before = CpuBackend.instance().memory().live();
    try (Scope scope = Scope.open();
        AutoencoderKL vae = new AutoencoderKL(Weights.meta(), stableDiffusion())) {
      assertEquals(before, CpuBackend.instance().memory().live(), "no memory");
      assertEquals(expected, shapes(vae.parameters()));
      assertEquals(248, vae.parameters().size());
      assertEquals(83_653_863, vae.parameterCount());
    }
  }

  @Test
  void switchesOfTheConfigurationRemoveParameters() {
    try (Scope scope = Scope.open();
        AutoencoderKL with = new AutoencoderKL(Weights.meta(), small().build());
        AutoencoderKL without =
            new AutoencoderKL(
                Weights.meta(), small().quantConvs(false).midBlockAddAttention(false).build())) {
      Map<String, String> gone = shapes(with.parameters());
      gone.keySet().removeAll(shapes(without.parameters()).keySet());
      assertEquals(2 * 10 + 4, gone.size(), gone.toString());
      assertTrue(
          gone.keySet().stream()
              .allMatch(n -> n.contains("mid_block.attentions.0.") || n.contains("quant_conv.")),
          gone.toString());
    }
  }

  @Test
  void wrongInputsAreNamed() {
    try (AutoencoderKL vae = model(small().build());
        Scope scope = Scope.open()) {
      assertMessage("[B, 1, H, W]", () -> vae.encode(Tensor.zeros(1, 3, 8, 8)));
      assertMessage("[B, 1, H, W]", () -> vae.encode(Tensor.zeros(1, 8, 8)));
      assertMessage("at least 4 (2 halvings)", () -> vae.encode(Tensor.zeros(1, 1, 3, 8)));
      assertMessage("[B, 2, h, w]", () -> vae.decode(Tensor.zeros(1, 4, 8, 8)));
    }
  }

  private static void assertMessage(String part, Runnable body) {
    ShapeException e = assertThrows(ShapeException.class, body::run);
    assertTrue(e.getMessage().contains(part), e.getMessage());
  }

  @Test
  void scalingIsUndone() {
    List<AutoencoderKLConfig> configs =
        List.of(
            small().scalingFactor(0.5).build(),
            small().scalingFactor(0.5).shiftFactor(0.25).build(),
            AutoencoderKLConfig.fromJson(
                json(small().scalingFactor(0.5).build(), "latents_mean", "[1, -2]")
                    .set("latents_std", read("[4, 0.5]")),
                "test"));
    float[][] expected = {{1.5f, 2.5f}, {1.375f, 2.375f}, {0.25f, 7f}};
    for (int i = 0; i < configs.size(); i++) {
      try (AutoencoderKL vae = model(configs.get(i));
          Scope scope = Scope.open()) {
        Tensor z = Tensor.of(new float[] {3, 5}, 1, 2, 1, 1);
        Tensor latents = vae.scale(z);
        assertArrayEquals(expected[i], latents.toFloatArray());
        assertArrayEquals(z.toFloatArray(), vae.unscale(latents).toFloatArray());
      }
    }
  }

  // ---- tiles and slices

  @Test
  void aPictureOfOneTileIsComputedAsAWhole() {
    try (AutoencoderKL vae = model(small().sampleSize(16).build());
        Scope scope = Scope.open()) {
      Tensor x = Rng.seed(1).normal(2, 1, 16, 12);
      float[] moments = vae.moments(x).toFloatArray();
      float[] picture = vae.decode(vae.encode(x).mode()).toFloatArray();
      vae.setTiling(Tiling.of(vae.config()));
      assertArrayEquals(moments, vae.moments(x).toFloatArray());
      assertArrayEquals(picture, vae.decode(vae.encode(x).mode()).toFloatArray());
      vae.setSlicing(true);
      assertArrayEquals(moments, vae.moments(x).toFloatArray(), 1e-5f);
      vae.setTiling(null);
      Tensor large = Rng.seed(1).normal(1, 1, 24, 24);
      float[] whole = vae.moments(large).toFloatArray();
      vae.setTiling(Tiling.of(vae.config()));
      float[] tiled = vae.moments(large).toFloatArray();
      assertEquals(whole.length, tiled.length);
      assertFalse(java.util.Arrays.equals(whole, tiled), "statistics are those of a tile");
    }
  }

  /** What depends on a pixel's own place alone is the same with tiles, whatever their blending. */
  @ParameterizedTest
  @CsvSource({"16,16", "17,40", "28,29", "64,20", "33,95", "13,61"})
  void tilesOfALocalFunctionAreTheWhole(int h, int w) {
    Tiling tiles = new Tiling(32, 8, 0.25);
    try (Scope scope = Scope.open()) {
      Tensor z = Rng.seed(2).normal(2, 3, h, w);
      Tensor whole = io.sfumato.tensor.ops.NN.upsampleNearest(z, 4);
      Tensor tiled = tiles.decode(z, t -> io.sfumato.tensor.ops.NN.upsampleNearest(t, 4));
      assertEquals(whole.shape(), tiled.shape());
      assertArrayEquals(whole.toFloatArray(), tiled.toFloatArray(), 1e-6f);
      Tensor x = Rng.seed(3).normal(2, 3, 4 * h, 4 * w + 3);
      // 4 w + 3 pixels may leave a tile of 3, which has no pixel in the latent
      int rest = (4 * w + 3) % 24;
      if (rest > 0 && rest < 4) {
        var e =
            assertThrows(
                ShapeException.class,
                () -> tiles.encode(x, t -> io.sfumato.tensor.ops.NN.avgPool2d(t, 4, 4)));
        assertTrue(e.getMessage().contains("crop the picture to multiples of 4"), e.getMessage());
        return;
      }
      Tensor small = io.sfumato.tensor.ops.NN.avgPool2d(x, 4, 4);
      Tensor joined = tiles.encode(x, t -> io.sfumato.tensor.ops.NN.avgPool2d(t, 4, 4));
      assertEquals(small.shape(), joined.shape());
      assertArrayEquals(small.toFloatArray(), joined.toFloatArray(), 1e-6f);
    }
  }

  @Test
  void tilesThatDoNotFitAreRefused() {
    for (int[] sizes : new int[][] {{30, 7}, {8, 2}, {0, 0}, {20, 5}, {4, 8}}) {
      var e =
          assertThrows(IllegalArgumentException.class, () -> new Tiling(sizes[0], sizes[1], 0.25));
      assertTrue(e.getMessage().contains("got sides " + sizes[0]), e.getMessage());
    }
    assertThrows(IllegalArgumentException.class, () -> new Tiling(32, 8, 1));
    assertThrows(IllegalArgumentException.class, () -> Tiling.of(small().sampleSize(20).build()));
    try (AutoencoderKL vae = model(small().build())) {
      var e =
          assertThrows(
              IllegalArgumentException.class, () -> vae.setTiling(new Tiling(64, 8, 0.25)));
      assertTrue(e.getMessage().contains("the model has 4"), e.getMessage());
    }
  }

  // ---- files

  @Test
  void oldAttentionNamesAreRead() {
    try (AutoencoderKL vae = model(small().build());
        Scope scope = Scope.open()) {
      vae.save(folder);
      Map<String, Tensor> old = new TreeMap<>();
      vae.stateDict()
          .forEach(
              (name, t) -> {
                boolean projection = name.matches(".*\\.to_(q|k|v|out\\.0)\\.weight");
                String former =
                    name.replace(".to_q.", ".query.")
                        .replace(".to_k.", ".key.")
                        .replace(".to_v.", ".value.")
                        .replace(".to_out.0.", ".proj_attn.");
                old.put(former, projection ? t.unsqueeze(-1).unsqueeze(-1).contiguous() : t);
              });
      SafeTensors.save(folder.resolve("diffusion_pytorch_model.safetensors"), old);
      try (AutoencoderKL again = AutoencoderKL.open(folder)) {
        assertSame(vae.stateDict(), again.stateDict());
      }
    }
  }

  private static void assertSame(Map<String, Tensor> expected, Map<String, Tensor> actual) {
    assertEquals(expected.keySet(), actual.keySet());
    expected.forEach(
        (n, t) -> assertArrayEquals(t.toFloatArray(), actual.get(n).toFloatArray(), n));
  }

  @Test
  void shardsAreReadAsOneModelAndMissedByName() throws IOException {
    try (AutoencoderKL vae = model(small().build());
        Scope scope = Scope.open()) {
      vae.save(folder, vae.parameterCount()); // a fourth of the bytes
      try (AutoencoderKL again = AutoencoderKL.open(folder)) {
        assertSame(vae.stateDict(), again.stateDict());
      }
      String shard;
      try (var files = Files.list(folder)) {
        shard =
            files
                .map(f -> f.getFileName().toString())
                .filter(f -> f.contains("-00002-of-"))
                .findFirst()
                .orElseThrow();
      }
      Files.delete(folder.resolve(shard));
      var e = assertThrows(TensorFileException.class, () -> AutoencoderKL.open(folder));
      assertTrue(e.getMessage().contains("shard \"" + shard + "\" is missing"), e.getMessage());
    }
  }

  @Test
  void loadingIsStrictBothWays() {
    try (AutoencoderKL vae = model(small().build());
        Scope scope = Scope.open()) {
      vae.save(folder);
      Path file = folder.resolve("diffusion_pytorch_model.safetensors");
      Map<String, Tensor> dict = new TreeMap<>(vae.stateDict());
      Tensor bias = dict.remove("quant_conv.bias");
      SafeTensors.save(file, dict);
      String missing =
          assertThrows(WeightsException.class, () -> AutoencoderKL.open(folder)).getMessage();
      assertTrue(missing.contains("\"quant_conv.bias\" is missing"), missing);
      dict.put("quant_conv.bias", bias);
      dict.put("loss.logvar", bias);
      SafeTensors.save(file, dict);
      String unused =
          assertThrows(WeightsException.class, () -> AutoencoderKL.open(folder)).getMessage();
      assertTrue(unused.contains("loss.logvar"), unused);
    }
  }

  @Test
  void halfWeightsAreUpcastIfTheConfigurationSaysSo() {
    try (AutoencoderKL vae = model(small().build());
        Scope scope = Scope.open()) {
      for (boolean force : new boolean[] {true, false}) {
        for (DType stored : new DType[] {DType.F16, DType.BF16}) {
          Map<String, Tensor> dict = new TreeMap<>();
          vae.stateDict().forEach((n, t) -> dict.put(n, t.to(stored)));
          ModelConfig.write(
              folder.resolve("config.json"), small().forceUpcast(force).build().toMap());
          SafeTensors.save(folder.resolve("diffusion_pytorch_model.safetensors"), dict);
          try (AutoencoderKL again = AutoencoderKL.open(folder)) {
            DType wanted = force && stored == DType.F16 ? DType.F32 : stored;
            again.parameters().forEach(p -> assertEquals(wanted, p.value().dtype(), p.name()));
          }
        }
      }
    }
  }

  // ---- configuration

  private static com.fasterxml.jackson.databind.JsonNode read(String json) {
    try {
      return new com.fasterxml.jackson.databind.ObjectMapper().readTree(json);
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  private static ObjectNode json(AutoencoderKLConfig config, String key, String value) {
    ObjectNode json =
        (ObjectNode) new com.fasterxml.jackson.databind.ObjectMapper().valueToTree(config.toMap());
    return json.<ObjectNode>set(key, read(value));
  }

  @Test
  void aWrongConfigurationIsReportedAsAWhole() {
    ObjectNode json =
        JsonNodeFactory.instance
            .objectNode()
            .put("norm_num_groups", 5)
            .put("act_fn", "swoosh")
            .put("use_quant_conv", "yes")
            .put("latent_chanels", 8)
            .put("norm_type", "spatial")
            .put("_ignored", 1)
            .put("scaling_factor", 0);
    json.putArray("down_block_types").add("DownBlock2D").add("DownEncoderBlock2D");
    String message =
        String.valueOf(
            assertThrows(
                    IllegalArgumentException.class,
                    () -> AutoencoderKLConfig.fromJson(json, "here"))
                .getMessage());
    for (String part :
        List.of(
            "here",
            "norm_num_groups 5",
            "swoosh",
            "use_quant_conv must be true or false",
            "unknown keys [latent_chanels, norm_type]",
            "scaling_factor",
            "DownBlock2D",
            "one entry per level")) {
      assertTrue(message.contains(part), part + " in " + message);
    }
    assertFalse(message.contains("_ignored"), message);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "in_channels=0",
        "out_channels=-1",
        "latent_channels=0",
        "layers_per_block=0",
        "sample_size=[32,32]",
        "block_out_channels=[]",
        "block_out_channels=[4,7,8]",
        "up_block_types=[\"UpDecoderBlock2D\"]",
        "up_block_types=[\"UpBlock2D\",\"UpDecoderBlock2D\",\"UpDecoderBlock2D\"]",
        "norm_num_groups=0",
        "scaling_factor=-1",
        "shift_factor=\"a\"",
        "latents_mean=[0,0]",
        "latents_std=[1,1]",
        "latents_mean=0",
        "force_upcast=1",
        "use_post_quant_conv=0",
        "mid_block_add_attention=\"no\"",
        "act_fn=\"cube\""
      })
  void aValueThatIsNotHonouredIsRefusedByName(String assignment) {
    String key = assignment.substring(0, assignment.indexOf('='));
    ObjectNode json = json(small().build(), key, assignment.substring(key.length() + 1));
    var e =
        assertThrows(
            IllegalArgumentException.class, () -> AutoencoderKLConfig.fromJson(json, "test"));
    assertTrue(String.valueOf(e.getMessage()).contains(key), e.getMessage());
  }

  @Test
  void aFolderOfAnotherClassIsRefused() {
    Map<String, Object> map = new TreeMap<>(small().build().toMap());
    map.put("_class_name", "VQModel");
    ModelConfig.write(folder.resolve("config.json"), map);
    var e = assertThrows(IllegalArgumentException.class, () -> AutoencoderKL.open(folder));
    assertTrue(String.valueOf(e.getMessage()).contains("of a VQModel"), e.getMessage());
  }
}
