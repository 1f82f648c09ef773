// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.quant;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sfumato.autograd.Autograd;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.QuantizedWeight;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.models.unet.UNet2DConfig;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.TensorFileException;
import io.sfumato.tensor.io.TensorSource;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.io.WeightsException;
import io.sfumato.tensor.ops.CodeTables;
import io.sfumato.tensor.ops.Num;
import java.io.IOException;
import java.net.URISyntaxException;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Codes, values, products and files against those that make_quantized.py made by other means. */
class QuantizedFilesTest {
  @TempDir Path folder;

  /** What the files hold. */
  private static final class Holder extends Module {
    Holder(Weights weights, int out, int in) {
      super(weights);
      child("layer", w -> new Linear(w, in, out));
    }

    WeightLayer layer() {
      return (WeightLayer) Objects.requireNonNull(children().get("layer"));
    }
  }

  private static Path file(String name) {
    try {
      URL url = QuantizedFilesTest.class.getResource("/golden/quantized/" + name + ".safetensors");
      return Path.of(Objects.requireNonNull(url).toURI());
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  private static Holder load(Path file, Tensor like) {
    return Quantization.load(file, w -> new Holder(w, like.dim(0), like.dim(1)));
  }

  @ParameterizedTest
  @ValueSource(strings = {"nf4_double", "nf4_odd", "nf4_bf16", "fp4", "fp4_double", "int8"})
  void layersComputeWhatTheJudgeComputes(String name) {
    try (Scope scope = Scope.open();
        TensorSource expected = TensorSource.open(file("expected"));
        Holder model = load(file(name), expected.read(name + ".weight"))) {
      QuantizedWeight codes = model.layer().quantized().orElseThrow();
      Tensor values = expected.read(name + ".values").to(DType.F32);
      assertArrayEquals(values.toFloatArray(), codes.coded().dequantize(DType.F32).toFloatArray());
      Tensor x = expected.read(name + ".x");
      close(expected.read(name + ".y"), model.layer().call(x));
      Tensor dy = expected.read(name + ".dy");
      Tensor dx = Autograd.grad(in -> Num.sum(model.layer().call(in).mul(dy)), x);
      close(expected.read(name + ".dx"), dx);
    }
  }

  private static void close(Tensor expected, Tensor actual) {
    double largest = Num.max(Num.abs(expected)).item();
    assertEquals(0, Num.max(Num.abs(expected.sub(actual))).item() / largest, 2e-6);
  }

  @ParameterizedTest
  @ValueSource(strings = {"nf4_double", "nf4_odd", "nf4_bf16", "fp4", "fp4_double", "int8"})
  void weightsGetTheCodesOfTheJudge(String name) throws IOException {
    try (Scope scope = Scope.open();
        TensorSource expected = TensorSource.open(file("expected"));
        TensorSource golden = TensorSource.open(file(name))) {
      Tensor weight = expected.read(name + ".weight");
      Map<String, Tensor> plain = new LinkedHashMap<>();
      plain.put("layer.weight", weight);
      plain.put("layer.bias", golden.read("layer.bias"));
      Path saved = folder.resolve("saved.safetensors");
      try (Weights weights = Weights.from(TensorSource.of(plain));
          Holder model = new Holder(weights, weight.dim(0), weight.dim(1))) {
        Quantization.quantize(model, "layer"::equals, config(name));
        Quantization.save(saved, model);
      }
      try (TensorSource ours = TensorSource.open(saved)) {
        assertEquals(golden.entries().keySet(), ours.entries().keySet());
        golden.entries().forEach((key, entry) -> same(golden, ours, key));
        assertEquals(golden.metadata(), ours.metadata());
      }
      if (!name.endsWith("double")) { // numbers in JSON may be printed in other ways
        assertArrayEquals(Files.readAllBytes(file(name)), Files.readAllBytes(saved));
      }
    }
  }

  private static QuantizationConfig config(String name) {
    if (name.equals("int8")) {
      return QuantizationConfig.int8();
    }
    QuantizationConfig config =
        name.startsWith("nf4") ? QuantizationConfig.nf4() : QuantizationConfig.fp4();
    return config.block(name.equals("nf4_odd") ? 128 : 64).doubleQuantization(name.endsWith("e"));
  }

  private static void same(TensorSource golden, TensorSource ours, String key) {
    var entry = golden.entries().get(key);
    var other = ours.entries().get(key);
    assertEquals(entry.type(), other.type(), key);
    if (key.contains("quant_state")) {
      JsonNode expected = json(golden, key);
      JsonNode actual = json(ours, key);
      double offset = expected.path("nested_offset").asDouble();
      assertEquals(offset, actual.path("nested_offset").asDouble(), 2 * Math.ulp((float) offset));
      ((ObjectNode) expected).remove("nested_offset");
      ((ObjectNode) actual).remove("nested_offset");
      assertEquals(expected, actual);
      return;
    }
    assertEquals(entry.dims(), other.dims(), key);
    if (entry.dtype().map(DType::isFloating).orElse(false)) {
      // PyTorch sums the mean in another order, and its linspace depends on the processor.
      float[] expected = golden.read(key).toFloatArray();
      double ulps = key.contains("nested") ? 4 * Math.ulp(largest(expected)) : 0;
      assertArrayEquals(expected, ours.read(key).toFloatArray(), (float) ulps, key);
    } else {
      assertArrayEquals(
          golden.readBytes(key).toByteArray(), ours.readBytes(key).toByteArray(), key);
    }
  }

  private static float largest(float[] values) {
    float most = 0;
    for (float v : values) {
      most = Math.max(most, Math.abs(v));
    }
    return most;
  }

  private static JsonNode json(TensorSource source, String key) {
    try {
      return new ObjectMapper().readTree(source.read(key).toByteArray());
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void theDynamicMapsAreTheJudges() {
    try (Scope scope = Scope.open();
        TensorSource expected = TensorSource.open(file("expected"))) {
      for (boolean signed : new boolean[] {true, false}) {
        Tensor judge = expected.read(signed ? "dynamic.signed" : "dynamic.unsigned");
        float[] values = judge.toFloatArray();
        float[] ours = CodeTables.dynamic(signed);
        for (int i = 0; i < values.length; i++) {
          assertEquals(values[i], ours[i], 2 * Math.ulp(values[i]), "value " + i);
        }
        assertEquals(256, ours.length);
      }
    }
  }

  @Test
  void aModelFolderKeepsItsCodes() throws IOException {
    UNet2DConfig config =
        UNet2DConfig.builder()
            .imageChannels(1)
            .levels(List.of(8, 16), List.of(false, true))
            .layersPerBlock(1)
            .normNumGroups(4)
            .build();
    try (Scope scope = Scope.open();
        UNet2D unet = new UNet2D(Weights.init(Rng.seed(0)), config)) {
      QuantizationConfig nf4 =
          QuantizationConfig.nf4().doubleQuantization(true).computeType(DType.F32);
      int layers = Quantization.quantize(unet, Quantization.linearLayers(unet), nf4);
      assertTrue(layers > 5);
      unet.save(folder);
      String json = Files.readString(folder.resolve("config.json"));
      assertTrue(json.contains("\"bnb_4bit_quant_type\": \"nf4\""), json);
      Tensor x = Rng.seed(1).normal(1, 1, 8, 8);
      try (UNet2D again = UNet2D.open(folder)) {
        assertEquals(unet.stateDict().keySet(), again.stateDict().keySet());
        unet.stateDict()
            .forEach(
                (name, value) ->
                    assertArrayEquals(
                        value.toDoubleArray(), again.stateDict().get(name).toDoubleArray(), name));
        assertArrayEquals(
            unet.call(x, new double[] {7}).toFloatArray(),
            again.call(x, new double[] {7}).toFloatArray());
        Quantization.weights(again).values().forEach(c -> assertEquals(DType.F32, c.computeType()));
      }
    }
  }

  // ---- configurations

  private static QuantizationConfig parse(String json) throws IOException {
    return QuantizationConfig.fromJson(new ObjectMapper().readTree(json));
  }

  @Test
  void diffusersDefaultsAreFp4WithoutDoubleQuantization() throws IOException {
    QuantizationConfig read = parse("{\"load_in_4bit\": true}");
    assertEquals(QuantizationConfig.fp4().computeType(DType.F32), read);
    QuantizationConfig other =
        QuantizationConfig.nf4().doubleQuantization(true).computeType(DType.BF16);
    ObjectMapper mapper = new ObjectMapper();
    assertEquals(other, QuantizationConfig.fromJson(mapper.valueToTree(other.toJson())));
    QuantizationConfig eight = QuantizationConfig.int8();
    assertEquals(eight, QuantizationConfig.fromJson(mapper.valueToTree(eight.toJson())));
  }

  @Test
  void wrongConfigurationsSayEverythingThatIsWrong() {
    String message =
        message(
            () ->
                parse(
                    "{\"quant_method\": \"gptq\", \"bnb_4bit_quant_type\": \"nf3\","
                        + " \"bnb_4bit_compute_dtype\": \"int8\", \"load_in_4bit\": true,"
                        + " \"load_in_8bit\": true}"));
    for (String part : List.of("gptq", "nf3", "int8", "one of load_in_4bit")) {
      assertTrue(message.contains(part), message);
    }
    message =
        message(() -> new QuantizationConfig(QuantizationConfig.Type.INT8, 64, true, DType.I32));
    for (String part : List.of("block must be 0", "no double", "compute type")) {
      assertTrue(message.contains(part), message);
    }
  }

  private interface Action {
    void run() throws Exception;
  }

  private static String message(Action action) {
    return String.valueOf(assertThrows(IllegalArgumentException.class, action::run).getMessage());
  }

  // ---- hostile files

  private void refused(String name, Consumer<Map<String, Tensor>> damage, String... parts) {
    Path file = folder.resolve("bad.safetensors");
    try (Scope scope = Scope.open();
        TensorSource expected = TensorSource.open(file("expected"));
        TensorSource golden = TensorSource.open(file(name))) {
      Tensor like = expected.read(name + ".weight");
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      golden
          .entries()
          .forEach(
              (key, entry) ->
                  tensors.put(
                      key, entry.type().endsWith("8") ? golden.readBytes(key) : golden.read(key)));
      damage.accept(tensors);
      SafeTensors.save(file, tensors);
      RuntimeException e = assertThrows(RuntimeException.class, () -> load(file, like).close());
      assertTrue(e instanceof WeightsException || e instanceof TensorFileException, e.toString());
      String message = String.valueOf(e.getMessage());
      assertTrue(message.contains("bad.safetensors"), message);
      for (String part : parts) {
        assertTrue(message.contains(part), message);
      }
    }
  }

  private static Tensor bytes(String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    return Tensor.of(bytes, bytes.length);
  }

  private void badState(String json, String... parts) {
    refused("fp4", t -> t.put("layer.weight.quant_state.bitsandbytes__fp4", bytes(json)), parts);
  }

  @Test
  void wrongNumbersOfCodesAndScalesAreRefused() {
    refused(
        "fp4",
        t -> t.put("layer.weight", t.get("layer.weight").slice(0, 0, 479)),
        "\"layer.weight\"",
        "480 bytes");
    refused("fp4", t -> t.put("layer.weight.absmax", Tensor.zeros(14)), "scales", "[15]");
    refused("fp4", t -> t.put("layer.weight.quant_map", Tensor.zeros(17)), "table", "[16]");
    refused("fp4", t -> t.put("layer.weight.absmax", Tensor.full(Double.NaN, 15)), "finite");
    refused(
        "fp4",
        t -> t.put("layer.weight.absmax", Tensor.zeros(15).to(DType.F64)),
        "scales must be f32");
    refused("fp4", t -> t.put("layer.weight", Tensor.zeros(480, 1)), "F32", "U8");
    refused("fp4", t -> t.remove("layer.weight.absmax"), "layer.weight.absmax is missing");
    refused("fp4", t -> t.remove("layer.weight"), "there are no codes");
    refused(
        "fp4_double", t -> t.put("layer.weight.nested_absmax", Tensor.zeros(9)), "outer scales");
    refused("fp4_double", t -> t.remove("layer.weight.nested_quant_map"), "nested_quant_map");
    refused("int8", t -> t.put("layer.SCB", Tensor.zeros(32)), "row magnitudes", "[33]");
    refused(
        "int8", t -> t.put("layer.weight_format", Tensor.of(new byte[] {1})), "must be 0, rows");
    refused("int8", t -> t.put("layer.weight", Tensor.zeros(33, 50)), "must be I8");
  }

  @Test
  void wrongDescriptionsAreRefused() {
    badState("{\"quant_type\": ", "not valid JSON");
    badState("[]", "no JSON object");
    badState("\u0000\u0001", "not valid JSON");
    String rest = "\"dtype\": \"float32\", \"shape\": [40, 24]}";
    badState("{\"quant_type\": \"nf4\", \"blocksize\": 64, " + rest, "described as 'nf4'");
    badState("{\"quant_type\": \"fp4\", \"blocksize\": 63, " + rest, "power of two");
    badState("{\"quant_type\": \"fp4\", \"blocksize\": \"64\", " + rest, "whole number");
    badState("{\"quant_type\": \"fp4\", \"blocksize\": 1e99, " + rest, "whole number");
    String head = "{\"quant_type\": \"fp4\", \"blocksize\": 64, \"dtype\": ";
    badState(head + "\"int4\", \"shape\": [40, 24]}", "'int4'");
    badState(head + "\"float32\", \"shape\": [40, -24]}", "positive sizes");
    badState(head + "\"float32\", \"shape\": [65536, 65536]}", "2^31");
    badState(head + "\"float32\", \"shape\": \"40\"}", "positive sizes");
    badState(head + "\"float32\", \"shape\": [24, 40]}", "layer.weight");
    refused(
        "fp4",
        t ->
            t.put(
                "layer.weight.quant_state.bitsandbytes__fp3",
                t.remove("layer.weight.quant_state.bitsandbytes__fp4")),
        "unknown quantization type fp3");
    refused(
        "fp4",
        t -> t.put("layer.weight.quant_state.bitsandbytes__nf4", bytes("{}")),
        "several descriptions");
    refused(
        "fp4", t -> t.remove("layer.weight.quant_state.bitsandbytes__fp4"), "has scales, but no");
    refused(
        "fp4",
        t ->
            t.put(
                "layer.weight.quant_state.bitsandbytes__fp4",
                Tensor.of(new byte[1 << 17], 1 << 17)),
        "at most 65536 bytes");
  }

  @Test
  void signedBytesAreWrittenForBytesAlone() {
    try (Scope scope = Scope.open()) {
      Path file = folder.resolve("signed.safetensors");
      Map<String, Tensor> tensors = Map.of("x", Tensor.of(new byte[] {-1, 2}, 2));
      SafeTensors.save(file, tensors, Map.of(), Set.of("x"));
      try (TensorSource source = TensorSource.open(file)) {
        assertEquals("I8", source.entries().get("x").type());
        assertArrayEquals(new byte[] {-1, 2}, source.readBytes("x").toByteArray());
        assertThrows(TensorFileException.class, () -> source.read("x"));
      }
      assertThrows(
          IllegalArgumentException.class,
          () -> SafeTensors.save(file, Map.of("x", Tensor.zeros(2)), Map.of(), Set.of("x")));
    }
  }
}
