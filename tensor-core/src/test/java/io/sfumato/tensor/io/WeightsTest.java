// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import static io.sfumato.tensor.io.TensorFiles.assertSays;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.DeviceException;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.CpuBackend;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class WeightsTest {
  private static final Init NONE =
      (spec, rng) -> {
        throw new AssertionError("stored weights are not drawn");
      };

  @TempDir private Path folder;

  private Path saved() {
    Path file = folder.resolve("x.safetensors");
    Scope.run(
        () ->
            SafeTensors.save(
                file,
                Map.of(
                    "conv.weight", Tensor.of(new float[] {1, 2, 3, 4, 5, 6}, 2, 3),
                    "conv.bias", Tensor.of(new double[] {0.1, 0.2}, DType.F16, Device.CPU, 2),
                    "steps", Tensor.of(new long[] {7}, 1))));
    return file;
  }

  private static WeightsException fails(Runnable action) {
    return assertThrows(WeightsException.class, action::run);
  }

  // ---- stored

  @Test
  void tensorsComeByPathInTheStoredType() {
    try (Weights weights = Weights.open(saved())) {
      Weights conv = weights.at("conv");
      assertEquals("conv", conv.path());
      assertEquals("a.b", weights.at("a").at("b").path());
      assertTrue(conv.has("weight"));
      assertFalse(conv.has("steps"));
      try (Parameter weight = conv.get("weight", Shape.of(2, 3), NONE);
          Parameter bias = conv.get("bias", Shape.of(2), NONE)) {
        assertEquals("conv.weight", weight.name());
        assertArrayEquals(new float[] {1, 2, 3, 4, 5, 6}, weight.value().toFloatArray());
        assertEquals(DType.F16, bias.value().dtype());
      }
      assertEquals(List.of("steps"), weights.unused());
      assertEquals(List.of("steps"), conv.unused());
      WeightsException e = fails(weights::requireAllUsed);
      assertSays(e, folder, "1 tensors were not used by the model: steps");
      weights.get("steps", Shape.of(1), NONE).close();
      weights.requireAllUsed();
    }
  }

  @Test
  void whatIsMissingMisshapenOrAskedTwiceIsAnError() {
    try (Weights weights = Weights.open(saved())) {
      Weights old = weights.at("block.conv");
      assertSays(
          fails(() -> old.get("weight", Shape.of(2, 3), NONE)),
          folder,
          "\"block.conv.weight\" is missing",
          "wanted [2, 3]",
          "there is \"conv.weight\"");
      assertSays(
          fails(() -> weights.at("conv").get("weight", Shape.of(3, 2), NONE)),
          folder,
          "\"conv.weight\" has shape [2, 3]; the model wants [3, 2]");
      assertSays(
          fails(() -> weights.at("conv").get("weight", Shape.of(2, 3, 1), NONE)), folder, "[2, 3]");
      assertEquals(3, weights.unused().size(), "what failed was not used");
      weights.at("conv").get("weight", Shape.of(2, 3), NONE).close();
      WeightsException e = fails(() -> weights.at("conv").get("weight", Shape.of(2, 3), NONE));
      assertEquals("parameter \"conv.weight\" is asked for twice", e.getMessage());
    }
  }

  @Test
  void aFailureClosesWhatTheLostModelTook() {
    try (Weights weights = Weights.open(saved())) {
      Parameter taken = weights.at("conv").get("weight", Shape.of(2, 3), NONE);
      fails(() -> weights.get("missing", Shape.of(1), NONE));
      assertFalse(taken.value().storage().isLive());
      taken.close();
      Parameter later = weights.at("conv").get("bias", Shape.of(2), NONE);
      assertTrue(later.value().storage().isLive());
      later.close();
    }
  }

  @Test
  void longListsOfUnusedTensorsAreCut() {
    Path file = folder.resolve("many.safetensors");
    Scope.run(
        () -> {
          Map<String, Tensor> many = new TreeMap<>();
          for (int i = 0; i < 30; i++) {
            many.put("t" + i, Tensor.zeros(1));
          }
          SafeTensors.save(file, many);
        });
    try (Weights weights = Weights.open(file)) {
      assertSays(fails(weights::requireAllUsed), file, "30 tensors", "and 10 more");
    }
  }

  @Test
  void asConvertsFloatingTensorsOnly() {
    try (Weights weights = Weights.open(saved()).as(DType.F32);
        Parameter bias = weights.at("conv").get("bias", Shape.of(2), NONE);
        Parameter steps = weights.get("steps", Shape.of(1), NONE);
        Parameter half = weights.as(DType.BF16).at("conv").get("weight", Shape.of(2, 3), NONE)) {
      assertEquals(DType.F32, bias.value().dtype());
      assertArrayEquals(
          new float[] {0.0999755859375f, 0.199951171875f}, bias.value().toFloatArray());
      assertEquals(DType.I64, steps.value().dtype());
      assertEquals(DType.BF16, half.value().dtype());
      assertArrayEquals(new float[] {1, 2, 3, 4, 5, 6}, half.value().toFloatArray());
      weights.requireAllUsed();
      assertThrows(IllegalArgumentException.class, () -> weights.as(DType.I64));
    }
  }

  @Test
  void renameMapsStoredNames() {
    try (Weights weights =
            Weights.open(saved()).as(DType.F32).rename(name -> name.replace("conv.", "layer.0."));
        Parameter bias = weights.at("layer.0").get("bias", Shape.of(2), NONE)) {
      assertEquals("layer.0.bias", bias.name());
      assertEquals(DType.F32, bias.value().dtype());
      assertEquals(List.of("steps", "layer.0.weight"), weights.unused());
      IllegalStateException e =
          assertThrows(IllegalStateException.class, () -> weights.rename(name -> name));
      assertTrue(e.getMessage().contains("before"), e.getMessage());
    }
    try (Weights weights = Weights.open(saved())) {
      assertSays(
          fails(() -> weights.rename(name -> "same")), folder, "would both be called \"same\"");
      assertThrows(IllegalStateException.class, () -> weights.at("conv").rename(name -> name));
    }
    assertThrows(IllegalStateException.class, () -> Weights.init(Rng.seed(0)).rename(name -> name));
  }

  @Test
  void dimensionsBeyondIntAreAShapeError() throws IOException {
    Path file = folder.resolve("odd.safetensors");
    TensorFiles.write(
        file,
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[0,18446744073709551615],\"data_offsets\":[0,0]}}",
        0);
    try (Weights weights = Weights.open(file)) {
      assertSays(
          fails(() -> weights.get("a", Shape.of(0, 5), NONE)),
          file,
          "has shape [0, 18446744073709551615]");
    }
  }

  // ---- folders

  @ParameterizedTest
  @ValueSource(
      strings = {
        "diffusion_pytorch_model.safetensors",
        "model.safetensors",
        "diffusion_pytorch_model.fp16.safetensors",
        "diffusion_pytorch_model.safetensors.index.json",
        "diffusion_pytorch_model.safetensors.index.fp16.json",
        "model.safetensors.index.json"
      })
  void aFolderIsSearched(String name) throws IOException {
    boolean index = name.endsWith(".json");
    Path file = folder.resolve(index ? "diffusion_pytorch_model-00001-of-00001.safetensors" : name);
    Files.move(saved(), file);
    if (index) {
      StringBuilder map = new StringBuilder();
      for (String key : List.of("conv.weight", "conv.bias", "steps")) {
        map.append(map.isEmpty() ? "\"" : ",\"").append(key).append("\":\"");
        map.append(file.getFileName()).append('"');
      }
      Files.writeString(folder.resolve(name), "{\"metadata\":{},\"weight_map\":{" + map + "}}");
    }
    try (Weights weights = Weights.open(folder)) {
      assertEquals(folder.resolve(name).toString(), weights.description());
      assertTrue(weights.has("steps"));
    }
  }

  @Test
  void aPlainFileComesBeforeAVariant() throws IOException {
    Files.copy(saved(), folder.resolve("model.fp16.safetensors"));
    Files.copy(folder.resolve("x.safetensors"), folder.resolve("model.safetensors"));
    try (Weights weights = Weights.open(folder)) {
      assertTrue(weights.description().endsWith("model.safetensors"), weights.description());
      assertFalse(weights.description().contains("fp16"));
    }
  }

  @Test
  void aFolderWithoutWeightsIsAnError() {
    assertSays(
        assertThrows(TensorFileException.class, () -> Weights.open(folder).close()),
        folder,
        "diffusion_pytorch_model.safetensors");
  }

  // ---- fresh

  @Test
  void freshValuesDependOnRngAndNameOnly() {
    Init init = Init.normal(1);
    Weights one = Weights.init(Rng.seed(1));
    Weights two = Weights.init(Rng.seed(1)).at("block");
    try (Parameter a = one.at("block").get("a", Shape.of(4), init);
        Parameter other = two.get("other", Shape.of(9), init);
        Parameter same = two.get("a", Shape.of(4), init);
        Parameter b = one.at("block").get("b", Shape.of(4), init);
        Parameter seed = Weights.init(Rng.seed(2)).at("block").get("a", Shape.of(4), init)) {
      assertArrayEquals(a.value().toFloatArray(), same.value().toFloatArray());
      assertNotEquals(list(a), list(b));
      assertNotEquals(list(a), list(seed));
      assertEquals("block.other", other.name());
    }
    assertFalse(one.has("block.a"));
    assertEquals(List.of(), one.unused());
    one.requireAllUsed();
    WeightsException e = fails(() -> one.at("block").get("a", Shape.of(4), init));
    assertTrue(e.getMessage().contains("\"block.a\" is asked for twice"), e.getMessage());
  }

  private static List<Double> list(Parameter p) {
    return Arrays.stream(p.value().toDoubleArray()).boxed().toList();
  }

  @Test
  void freshValuesOfEveryTypeAreTheSameButForOneRounding() {
    for (Init init : List.of(Init.normal(0.02), Init.uniform(0.3), Init.fanIn(7))) {
      try (Parameter wide = Weights.init(Rng.seed(5)).get("w", Shape.of(99), init)) {
        for (DType dtype : List.of(DType.BF16, DType.F16, DType.F64)) {
          try (Scope scope = Scope.open();
              Parameter p =
                  Weights.init(Rng.seed(5), dtype, Device.CPU).get("w", Shape.of(99), init);
              Parameter q = Weights.init(Rng.seed(5)).as(dtype).get("w", Shape.of(99), init)) {
            assertEquals(dtype, p.value().dtype());
            assertArrayEquals(p.value().toDoubleArray(), q.value().toDoubleArray());
            if (dtype != DType.F64) {
              assertArrayEquals(wide.value().to(dtype).toDoubleArray(), p.value().toDoubleArray());
            }
          }
        }
      }
    }
  }

  @Test
  void initialValuesHaveTheirDistribution() {
    Weights weights = Weights.init(Rng.seed(8));
    Shape shape = Shape.of(40, 25, 2, 5); // 10,000 elements
    try (Parameter zeros = weights.get("z", shape, Init.zeros());
        Parameter ones = weights.get("o", shape, Init.ones());
        Parameter third = weights.get("c", shape, Init.constant(0.25));
        Parameter normal = weights.get("n", shape, Init.normal(0.5));
        Parameter fanIn = weights.get("f", shape, Init.fanIn(25 * 2 * 5));
        Parameter xavier = weights.get("x", shape, Init.xavierUniform());
        Parameter none = weights.get("e", Shape.of(0, 0), Init.xavierUniform());
        Parameter zeroFan = weights.get("zf", Shape.of(2), Init.fanIn(0))) {
      assertBounds(zeros, 0, 0, 0);
      assertBounds(ones, 1, 1, 0);
      assertBounds(third, 0.25, 0.25, 0);
      double[] n = normal.value().toDoubleArray();
      assertEquals(0.5, Math.sqrt(Arrays.stream(n).map(v -> v * v).sum() / n.length), 0.02);
      double bound = 1 / Math.sqrt(250);
      assertBounds(fanIn, -bound, bound, bound / 50);
      double glorot = Math.sqrt(6.0 / (40 + 250));
      assertBounds(xavier, -glorot, glorot, glorot / 50);
      assertEquals(0, none.value().numel());
      assertBounds(zeroFan, 0, 0, 0);
    }
  }

  private static void assertBounds(Parameter p, double low, double high, double slack) {
    double min = Arrays.stream(p.value().toDoubleArray()).min().orElseThrow();
    double max = Arrays.stream(p.value().toDoubleArray()).max().orElseThrow();
    assertTrue(min >= low - 1e-7 && min <= low + slack, p.name() + " from " + min);
    assertTrue(max <= high + 1e-7 && max >= high - slack, p.name() + " to " + max);
  }

  @Test
  void aFailingInitLeavesNothing() {
    Weights weights = Weights.init(Rng.seed(0));
    Init broken =
        (spec, rng) -> {
          Tensor.zeros(spec);
          throw new IllegalStateException("broken");
        };
    assertThrows(IllegalStateException.class, () -> weights.get("w", Shape.of(1000), broken));
    weights.get("w", Shape.of(1), Init.zeros()).close(); // not "asked for twice"
  }

  // ---- without values

  @Test
  void metaHasShapesAndNoMemory() {
    long buffers = CpuBackend.instance().memory().buffers();
    Weights meta = Weights.meta();
    try (Parameter p = meta.at("a").get("w", Shape.of(1 << 20, 1 << 10), NONE);
        Parameter half = meta.as(DType.BF16).get("h", Shape.of(3), NONE)) {
      assertEquals("a.w [1048576, 1024] f32 meta", p.toString());
      assertEquals(DType.BF16, half.value().dtype());
      assertEquals(buffers, CpuBackend.instance().memory().buffers());
      DeviceException e =
          assertThrows(
              DeviceException.class,
              () ->
                  Scope.run(
                      () -> {
                        half.value().add(1);
                      }));
      assertTrue(e.getMessage().contains("no values"), e.getMessage());
      assertThrows(DeviceException.class, () -> half.value().toFloatArray());
    }
  }

  // ---- into a model that exists

  private static Parameter parameter(String name, DType dtype, int... shape) {
    try (Scope scope = Scope.open()) {
      return new Parameter(name, Tensor.full(9, shape).to(dtype));
    }
  }

  @Test
  void copyIntoOverwritesInPlace() {
    try (Weights weights = Weights.open(saved());
        Parameter weight = parameter("conv.weight", DType.F32, 2, 3);
        Parameter bias = parameter("conv.bias", DType.F16, 2)) {
      Tensor before = weight.value();
      int version = before.storage().version();
      weights.copyInto(List.of(weight, bias));
      assertEquals(before.id(), weight.value().id());
      assertTrue(before.storage().version() > version);
      assertArrayEquals(new float[] {1, 2, 3, 4, 5, 6}, weight.value().toFloatArray());
      assertEquals(List.of("steps"), weights.unused());
    }
  }

  @Test
  void copyIntoFillsAnyLayout() {
    try (Weights weights = Weights.open(saved());
        Parameter weight = transposed()) {
      weights.copyInto(List.of(weight));
      assertArrayEquals(new float[] {1, 2, 3, 4, 5, 6}, weight.value().toFloatArray());
    }
  }

  private static Parameter transposed() {
    try (Scope scope = Scope.open()) {
      return new Parameter("conv.weight", Tensor.zeros(3, 2).transpose(0, 1));
    }
  }

  @Test
  void copyIntoIsAllOrNothingAndListsEverything() {
    try (Weights weights = Weights.open(saved());
        Parameter fine = parameter("conv.weight", DType.F32, 2, 3);
        Parameter type = parameter("conv.bias", DType.F32, 2);
        Parameter shape = parameter("steps", DType.I64, 2);
        Parameter missing = parameter("nothing", DType.F32, 2)) {
      assertSays(
          fails(() -> weights.copyInto(List.of(fine, type, shape, missing))),
          folder,
          "\"conv.bias\" is F16; the model has it as F32 (Weights.as(DType.F32) converts)",
          "\"steps\" has shape [1]; the model wants [2]",
          "\"nothing\" is missing");
      assertEquals(9, fine.value().toFloatArray()[0]);
      assertEquals(3, weights.unused().size());
      weights.as(DType.F32).copyInto(List.of(fine, type));
      assertArrayEquals(
          new float[] {0.0999755859375f, 0.199951171875f}, type.value().toFloatArray());
    }
  }

  @Test
  void onlyStoredWeightsCanBeCopied() {
    try (Parameter p = parameter("p", DType.F32, 2)) {
      for (Weights weights : List.of(Weights.init(Rng.seed(0)), Weights.meta())) {
        assertThrows(IllegalStateException.class, () -> weights.copyInto(List.of(p)));
      }
      assertEquals(9, p.value().toFloatArray()[0]);
    }
  }
}
