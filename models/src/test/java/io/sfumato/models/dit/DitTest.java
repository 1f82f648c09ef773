// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.dit;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.check.GradCheck;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Updates;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class DitTest {
  @TempDir Path folder;

  private static DitConfig.Builder tiny() {
    return DitConfig.builder()
        .layout(DitLayout.ORIGINAL)
        .size(2, 2, 8)
        .sampleSize(4)
        .imageChannels(1)
        .classes(3);
  }

  private static Dit randomised(DitConfig config, DType dtype) {
    Dit dit = new Dit(Weights.init(Rng.seed(1)).as(dtype), config);
    Scope.run(
        () -> {
          for (Parameter p : dit.parameters()) {
            Tensor noise = Rng.seed(2).fork(p.name()).normal(p.value().spec()).mul(0.3);
            Updates.add(p.value(), noise, 1);
          }
        });
    return dit;
  }

  @Test
  void theLargestModelHasTheReferencesNamesAndShapes() throws IOException {
    Map<String, String> expected = new TreeMap<>();
    try (var lines = Files.lines(Path.of("src/test/resources/keys/dit.txt").toAbsolutePath())) {
      lines.forEach(l -> expected.put(l.split("\t")[0], l.split("\t")[1]));
    }
    DitConfig config = DitConfig.named("DiT-XL/2").toBuilder().layout(DitLayout.DIFFUSERS).build();
    assertEquals(DitConfig.builder().outChannels(8).build(), config);
    try (Scope scope = Scope.open();
        Dit dit = new Dit(Weights.meta(), config)) {
      Map<String, String> actual = new TreeMap<>();
      for (Parameter p : dit.parameters()) {
        actual.put(p.name(), p.value().shape().toString().replace(" ", ""));
      }
      assertEquals(expected, actual);
      assertEquals(538, actual.size());
      assertEquals(749_826_464, dit.parameterCount());
      assertTrue(dit.buffers().isEmpty());
    }
  }

  /** Millions of parameters of the paper's table 1 (256 x 256 pictures, patches of 2). */
  @ParameterizedTest
  @CsvSource({"DiT-S/2, 33", "DiT-B/2, 130", "DiT-L/2, 458", "DiT-XL/2, 675"})
  void thePapersSizes(String name, long millions) {
    try (Scope scope = Scope.open();
        Dit dit = new Dit(Weights.meta(), DitConfig.named(name))) {
      assertEquals(millions, Math.round(dit.parameterCount() / 1e6));
      List<String> buffers = dit.buffers().stream().map(Parameter::name).toList();
      assertEquals(List.of("pos_embed"), buffers);
    }
  }

  @Test
  void namesOfSizes() {
    assertEquals(8, DitConfig.named("DiT-S/8").patchSize());
    assertEquals(1024, DitConfig.named("DiT-L/4").width());
    for (String wrong : List.of("DiT-M/2", "DiT-S/3", "S/2", "DiT-S")) {
      String message =
          assertThrows(IllegalArgumentException.class, () -> DitConfig.named(wrong)).getMessage();
      assertTrue(message.contains(wrong), message);
    }
  }

  @ParameterizedTest
  @EnumSource(Conditioning.class)
  void gradientsInF64(Conditioning way) {
    check(tiny().conditioning(way).build());
  }

  @Test
  void gradientsInF64OfOtherForms() {
    check(tiny().positions("rotary").build());
    check(tiny().positions("rotary").conditioning(Conditioning.IN_CONTEXT).build());
    check(tiny().positions("learned").classes(null).build());
    check(tiny().layout(DitLayout.DIFFUSERS).normElementwiseAffine(true).build());
    check(tiny().layout(DitLayout.DIFFUSERS).activationFn("geglu").build());
  }

  private static void check(DitConfig config) {
    try (Scope scope = Scope.open();
        Dit dit = randomised(config, DType.F64)) {
      double[] t = {3, 700};
      Tensor y = config.numEmbedsAdaNorm() == null ? null : Tensor.of(new long[] {1, 3}, 2);
      Tensor x = Rng.seed(3).normal(spec(2, 1, 4, 4));
      GradCheck.of(in -> new Tensor[] {dit.call(in[0], t, y)}).check(x).orThrow();

      // Parameters by a direction each: d/dh of the weighted output.
      Tensor g = Rng.seed(4).normal(spec(2, 1, 4, 4));
      var result = Autograd.valueAndGrad(dit.parameters(), () -> Num.sum(dit.call(x, t, y).mul(g)));
      for (Parameter p : dit.parameters()) {
        Tensor direction = Rng.seed(5).fork(p.name()).normal(p.value().spec());
        direction = direction.div(Num.sum(direction.square()).sqrt());
        double slope = Num.sum(result.gradients().get(p).mul(direction)).item();
        double h = 1e-5;
        Updates.add(p.value(), direction, h);
        double up = Num.sum(dit.call(x, t, y).mul(g)).item();
        Updates.add(p.value(), direction, -2 * h);
        double down = Num.sum(dit.call(x, t, y).mul(g)).item();
        Updates.add(p.value(), direction, h);
        double expected = (up - down) / (2 * h);
        assertEquals(expected, slope, 1e-7 * Math.max(1, Math.abs(expected)), p.name());
      }
    }
  }

  private static TensorSpec spec(int... shape) {
    return new TensorSpec(Shape.of(shape), DType.F64, Device.CPU);
  }

  /** The trap of the reference: the first half of a token's values encodes its column. */
  @Test
  void positionsEncodeTheColumnFirst() {
    double[] table = Positions.sinCos(2, 2, 2, 8);
    double[] zero = {0, 0, 1, 1};
    double[] one = {Math.sin(1), Math.sin(0.01), Math.cos(1), Math.cos(0.01)};
    for (int token = 0; token < 4; token++) {
      double[] column = java.util.Arrays.copyOfRange(table, 8 * token, 8 * token + 4);
      double[] row = java.util.Arrays.copyOfRange(table, 8 * token + 4, 8 * token + 8);
      assertArrayEquals(token % 2 == 0 ? zero : one, column, 1e-15);
      assertArrayEquals(token / 2 == 0 ? zero : one, row, 1e-15);
    }
  }

  @Test
  void otherSizesUseTheSameRangeOfPositions() {
    double[] own = Positions.sinCos(4, 4, 4, 8);
    double[] finer = Positions.sinCos(8, 8, 4, 8);
    for (int i = 0; i < 4; i++) {
      for (int j = 0; j < 4; j++) {
        for (int k = 0; k < 8; k++) {
          assertEquals(own[(i * 4 + j) * 8 + k], finer[(16 * i + 2 * j) * 8 + k], 1e-15);
        }
      }
    }
  }

  /** With rotary positions a score depends on the difference of the positions alone. */
  @Test
  void rotaryScoresDependOnDifferences() {
    try (Scope scope = Scope.open()) {
      Rotary rotary = Rotary.of(3, 4, 1, 8, spec());
      Tensor q = Rng.seed(1).normal(spec(1, 1, 1, 8)).expand(1, 1, 13, 8);
      Tensor k = Rng.seed(2).normal(spec(1, 1, 1, 8)).expand(1, 1, 13, 8);
      Tensor scores =
          Num.matmul(rotary.turn(q).reshape(13, 8), rotary.turn(k).reshape(13, 8), false, true);
      double[] s = scores.toDoubleArray(); // [13, 13]
      assertEquals(s[at(0, 0, 1, 2)], s[at(1, 1, 2, 3)], 1e-12);
      assertEquals(s[at(2, 1, 1, 0)], s[at(1, 3, 0, 2)], 1e-12);
      assertTrue(Math.abs(s[at(0, 0, 0, 1)] - s[at(0, 0, 1, 0)]) > 1e-6, "row is not column");
      double[] plain = Num.matmul(q.reshape(13, 8), k.reshape(13, 8), false, true).toDoubleArray();
      assertEquals(plain[0], s[12 * 13 + 12], 1e-12, "tokens behind the patches are not turned");
    }
  }

  private static int at(int row, int column, int otherRow, int otherColumn) {
    return (row * 4 + column) * 13 + otherRow * 4 + otherColumn;
  }

  /** Gates and the last layer are zero, as in the paper: the output is zero, and blocks pass on. */
  @ParameterizedTest
  @EnumSource(Conditioning.class)
  void firstValuesAreThePapers(Conditioning way) {
    try (Scope scope = Scope.open();
        Dit dit = new Dit(Weights.init(Rng.seed(0)), tiny().conditioning(way).build())) {
      Tensor x = Rng.seed(1).normal(2, 1, 4, 4);
      Tensor y = Tensor.of(new long[] {0, 1}, 2);
      for (float v : dit.call(x, new double[] {5}, y).toFloatArray()) {
        assertEquals(0, v);
      }
      for (Parameter p : dit.parameters()) {
        double largest = largest(p.value());
        String n = p.name();
        boolean norm = n.contains("norm") && !n.contains("modulation");
        boolean zero =
            n.endsWith(".bias") || n.contains("modulation") || n.startsWith("final_layer.linear");
        if (norm) {
          assertEquals(n.endsWith(".bias") ? 0 : 1, largest, n);
        } else if (zero) {
          assertEquals(0, largest, n);
        } else if (n.startsWith("t_embedder") || n.startsWith("y_embedder")) {
          assertTrue(largest > 0.02 && largest < 0.12, n + " " + largest);
        } else {
          Shape s = p.value().shape();
          double bound = Math.sqrt(6.0 / (s.dim(0) + (double) s.numel() / s.dim(0)));
          assertTrue(largest <= bound && largest > 0.8 * bound, n + " " + largest);
        }
      }
    }
  }

  private static double largest(Tensor x) {
    double largest = 0;
    for (double v : x.toDoubleArray()) {
      largest = Math.max(largest, Math.abs(v));
    }
    return largest;
  }

  /** One timestep for all is one row of embeddings, and gives the same as a row for each. */
  @ParameterizedTest
  @EnumSource(Conditioning.class)
  void oneTimestepForAllIsAsOneEach(Conditioning way) {
    for (Integer classes : new Integer[] {3, null}) {
      try (Scope scope = Scope.open();
          Dit dit = randomised(tiny().conditioning(way).classes(classes).build(), DType.F32)) {
        Tensor x = Rng.seed(1).normal(3, 1, 4, 4);
        Tensor y = classes == null ? null : Tensor.of(new long[] {0, 3, 1}, 3);
        Tensor all = dit.call(x, new double[] {250}, y);
        Tensor mixed = dit.call(x, new double[] {250, 250, 600}, y);
        assertArrayEquals(
            mixed.slice(0, 0, 2).toFloatArray(), all.slice(0, 0, 2).toFloatArray(), 1e-5f);
        assertTrue(Math.abs(mixed.slice(0, 2, 3).sub(all.slice(0, 2, 3)).sum().item()) > 1e-3);
      }
    }
  }

  /** The condition reaches the output in every way of conditioning. */
  @ParameterizedTest
  @EnumSource(Conditioning.class)
  void classesMatter(Conditioning way) {
    try (Scope scope = Scope.open();
        Dit dit = randomised(tiny().conditioning(way).build(), DType.F32)) {
      Tensor x = Rng.seed(1).normal(1, 1, 4, 4);
      double[] t = {250};
      Tensor a = dit.call(x, t, Tensor.of(new long[] {0}, 1));
      Tensor b = dit.call(x, t, Tensor.of(new long[] {1}, 1));
      assertTrue(largest(a.sub(b)) > 1e-2);
    }
  }

  @Test
  void layoutsAreTurnedIntoEachOther() throws IOException {
    DitConfig original = tiny().outChannels(2).build();
    DitConfig diffusers = original.toBuilder().namesOf(DitLayout.DIFFUSERS).build();
    try (Scope scope = Scope.open();
        Dit dit = randomised(original, DType.F32)) {
      Files.createDirectories(folder.resolve("original"));
      Files.createDirectories(folder.resolve("diffusers"));
      dit.save(folder.resolve("original"));
      dit.save(folder.resolve("diffusers"), DitLayout.DIFFUSERS);
      Tensor x = Rng.seed(1).normal(2, 1, 4, 4);
      Tensor y = Tensor.of(new long[] {0, 3}, 2);
      double[] t = {100, 900};
      float[] expected = dit.call(x, t, y).toFloatArray();
      try (Dit saved = Dit.open(folder.resolve("diffusers"));
          Dit turned = Dit.open(folder.resolve("original"), diffusers);
          Dit back = Dit.open(folder.resolve("diffusers"), original)) {
        assertEquals(diffusers, saved.config());
        assertTrue(saved.stateDict().containsKey("transformer_blocks.1.attn1.to_k.bias"));
        assertEquals(2, saved.config().outputs());
        assertArrayEquals(expected, saved.call(x, t, y).toFloatArray(), 1e-5f);
        assertArrayEquals(expected, turned.call(x, t, y).toFloatArray(), 1e-5f);
        assertEquals(dit.stateDict().keySet(), back.stateDict().keySet());
        Map<String, Tensor> again = new LinkedHashMap<>(back.stateDict());
        dit.stateDict()
            .forEach((n, v) -> assertArrayEquals(v.toFloatArray(), again.get(n).toFloatArray(), n));
      }
    }
  }

  @Test
  void whatTheOtherLayoutCannotHoldIsRefused() {
    DitConfig config = tiny().layout(DitLayout.DIFFUSERS).build();
    try (Scope scope = Scope.open();
        Dit dit = randomised(config, DType.F32)) {
      String message =
          assertThrows(RuntimeException.class, () -> dit.save(folder, DitLayout.ORIGINAL))
              .getMessage();
      assertTrue(message.contains("transformer_blocks.1.norm1.emb"), message);
      assertTrue(message.contains("differs from that of block 0"), message);
      assertFalse(Files.exists(folder.resolve("config.json")));
    }
    try (Scope scope = Scope.open();
        Dit dit = randomised(tiny().build(), DType.F32)) {
      Updates.add(dit.buffers().getFirst().value(), Tensor.ones(1, 4, 16), 1e-3);
      String message =
          assertThrows(RuntimeException.class, () -> dit.save(folder, DitLayout.DIFFUSERS))
              .getMessage();
      assertTrue(message.contains("not the sine-cosine table"), message);
    }
    try (Scope scope = Scope.open();
        Dit dit = randomised(tiny().conditioning(Conditioning.ADALN).build(), DType.F32)) {
      assertThrows(IllegalArgumentException.class, () -> dit.save(folder, DitLayout.DIFFUSERS));
    }
  }

  @Test
  void noDitIsSaidSo() {
    Scope.run(
        () -> {
          io.sfumato.tensor.io.SafeTensors.save(
              folder.resolve("model.safetensors"), Map.of("a", Tensor.ones(1)));
          String message =
              assertThrows(RuntimeException.class, () -> Dit.open(folder, tiny().build()))
                  .getMessage();
          assertTrue(message.contains("holds no DiT"), message);
        });
  }

  @Test
  void configurationsComeBack() {
    for (DitConfig config :
        List.of(
            DitConfig.builder().build(),
            DitConfig.named("DiT-B/4"),
            tiny().conditioning(Conditioning.CROSS_ATTENTION).positions("rotary").build(),
            tiny().classes(null).freqShift(1).normEps(1e-5).build(),
            tiny().namesOf(DitLayout.DIFFUSERS).build())) {
      Path file = folder.resolve("config.json");
      ModelConfig.write(file, config.toMap());
      assertEquals(config, DitConfig.read(file));
    }
  }

  @Test
  void aWrongConfigurationIsReportedAsAWhole() {
    var json =
        JsonNodeFactory.instance
            .objectNode()
            .put("num_attention_heads", 0)
            .put("sample_size", 31)
            .put("dropout", 1)
            .put("norm_eps", -1)
            .put("norm_type", "ada_norm")
            .put("activation_fn", "cube")
            .put("positions", "spiral");
    String message =
        assertThrows(IllegalArgumentException.class, () -> DitConfig.fromJson(json, "test"))
            .getMessage();
    for (String part :
        List.of(
            "num_attention_heads",
            "sample_size 31",
            "dropout",
            "norm_eps",
            "ada_norm'",
            "cube",
            "spiral")) {
      assertTrue(message.contains(part), part + " in " + message);
    }
    assertRefused(
        "conditioning adaln needs", () -> DitConfig.builder().conditioning(Conditioning.ADALN));
    assertRefused("must not be null", () -> DitConfig.builder().classes(null));
    assertRefused("rotary need the original", () -> DitConfig.builder().positions("rotary"));
    assertRefused(
        "divisible by 4 for positions rotary", () -> tiny().size(1, 2, 6).positions("rotary"));
    assertRefused("divisible by 4 for positions sincos", () -> tiny().size(1, 1, 6));
    assertRefused("norm_elementwise_affine", () -> tiny().normElementwiseAffine(true));
    assertRefused("gelu-approximate in the original", () -> tiny().activationFn("geglu"));
    assertThrows(IllegalArgumentException.class, () -> Conditioning.parse("magic"));
    assertThrows(IllegalArgumentException.class, () -> DitLayout.parse("magic"));
  }

  private static void assertRefused(
      String part, java.util.function.Supplier<DitConfig.Builder> builder) {
    String message =
        assertThrows(IllegalArgumentException.class, () -> builder.get().build()).getMessage();
    assertTrue(message.contains(part), message);
  }

  @Test
  void wrongInputsAreNamed() {
    try (Scope scope = Scope.open();
        Dit dit = new Dit(Weights.init(Rng.seed(0)), tiny().build());
        Dit learned = new Dit(Weights.init(Rng.seed(0)), tiny().positions("learned").build())) {
      Tensor y = Tensor.of(new long[] {0, 1}, 2);
      double[] t = {5};
      assertShape("must be [B, 1, H, W]", () -> dit.call(Tensor.zeros(2, 3, 4, 4), t, y));
      assertShape("patch size 2", () -> dit.call(Tensor.zeros(2, 1, 4, 5), t, y));
      assertShape(
          "one per sample", () -> dit.call(Tensor.zeros(2, 1, 4, 4), new double[] {1, 2, 3}, y));
      assertShape("classes must be [3]", () -> dit.call(Tensor.zeros(3, 1, 4, 4), t, y));
      assertShape("4 x 4", () -> learned.call(Tensor.zeros(2, 1, 8, 8), t, y));
      assertThrows(IllegalArgumentException.class, () -> dit.call(Tensor.zeros(2, 1, 4, 4), t));
      assertEquals("[2, 1, 6, 8]", dit.call(Tensor.zeros(2, 1, 6, 8), t, y).shape().toString());
    }
  }

  private static void assertShape(String part, Runnable body) {
    ShapeException e = assertThrows(ShapeException.class, body::run);
    assertTrue(e.getMessage().contains(part), e.getMessage());
  }

  @Test
  void aPapersFirstValuesReplaceWhatLayersAskFor() {
    try (Scope scope = Scope.open();
        Parameter p =
            Weights.init(Rng.seed(0))
                .initialised((name, init) -> name.equals("a.b") ? Init.constant(3) : init)
                .at("a")
                .get("b", Shape.of(2), Init.zeros())) {
      assertArrayEquals(new float[] {3, 3}, p.value().toFloatArray());
    }
  }
}
