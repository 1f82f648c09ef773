// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.TensorFileException;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.io.WeightsException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Broken, mismatched and hostile adapter files: each is one error that names the file and what is
 * wrong with it, and the model stays bit for bit as it was, with nothing in its slots.
 */
class HostileAdapterFilesTest {
  @TempDir Path folder;
  private Scope scope;
  private Net net;
  private Map<String, float[]> before;

  private static final class Net extends Module {
    Net(Weights weights) {
      super(weights);
      child("lin", w -> new Linear(w, 6, 10));
      child("conv", w -> new Conv2d(w, 4, 8, 3));
      child("table", w -> new Embedding(w, 7, 6));
    }
  }

  @BeforeEach
  void open() {
    scope = Scope.open();
    net = new Net(Weights.init(Rng.seed(3)));
    before = values();
  }

  @AfterEach
  void close() {
    net.close();
    scope.close();
  }

  private Map<String, float[]> values() {
    Map<String, float[]> values = new LinkedHashMap<>();
    net.stateDict().forEach((name, value) -> values.put(name, value.toFloatArray()));
    return values;
  }

  private void assertUntouched() {
    Map<String, float[]> after = values();
    assertEquals(before.keySet(), after.keySet());
    before.forEach((name, value) -> assertArrayEquals(value, after.get(name), name));
    net.modules()
        .forEach(
            (path, module) ->
                assertTrue(
                    !(module instanceof WeightLayer layer) || layer.adapters().isEmpty(), path));
  }

  /** Reading must fail with one message that has all parts. */
  private void refused(Runnable read, String... parts) {
    RuntimeException e = assertThrows(RuntimeException.class, read::run, Arrays.toString(parts));
    assertTrue(
        e instanceof IllegalArgumentException
            || e instanceof WeightsException
            || e instanceof TensorFileException,
        e.toString());
    for (String part : parts) {
      assertTrue(e.getMessage().contains(part), part + " is not in: " + e.getMessage());
    }
    assertUntouched();
  }

  private Path file() {
    return folder.resolve("adapter.safetensors");
  }

  private Path save(Map<String, Tensor> tensors) {
    SafeTensors.save(file(), tensors);
    return file();
  }

  private void refusedFile(Map<String, Tensor> tensors, String... parts) {
    Path file = save(tensors);
    String[] all = Arrays.copyOf(parts, parts.length + 1);
    all[parts.length] = "adapter.safetensors";
    refused(() -> AdapterFile.open(net, file), all);
  }

  private static Tensor random(int... shape) {
    return Rng.seed(6).normal(shape);
  }

  private static Tensor number(double value) {
    return Tensor.of(new double[] {value}, 1).reshape().to(DType.F32);
  }

  private static final String LIN = "lora_unet_lin.";

  /** A LoRA of the linear layer, with some tensors replaced, or removed if null. */
  private static Map<String, Tensor> lora(Object... changes) {
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    tensors.put(LIN + "lora_down.weight", random(2, 6));
    tensors.put(LIN + "lora_up.weight", random(10, 2));
    tensors.put(LIN + "alpha", number(2));
    return changed(tensors, changes);
  }

  private static Map<String, Tensor> changed(Map<String, Tensor> tensors, Object... changes) {
    for (int i = 0; i < changes.length; i += 2) {
      if (changes[i + 1] == null) {
        tensors.remove(changes[i]);
      } else {
        tensors.put((String) changes[i], (Tensor) changes[i + 1]);
      }
    }
    return tensors;
  }

  @Test
  void theSoundFileIsRead() {
    Path file = save(lora());
    AdapterFile.open(net, file).adapter().close();
    assertUntouched();
    // Without alpha the scale is 1: the rule is said, and the result is that of alpha = rank.
    Path without = save(lora(LIN + "alpha", null));
    AdapterFile.Loaded loaded = AdapterFile.open(net, without);
    assertTrue(loaded.scaleRule().contains("no alpha"), loaded.scaleRule());
    assertEquals(Map.of("lin", Lora.rank(2)), loaded.adapter().kinds());
    loaded.adapter().close();
  }

  @Test
  void aFileCutAnywhereIsRefused() throws IOException {
    byte[] whole = Files.readAllBytes(save(lora()));
    int header = (int) ByteBuffer.wrap(whole).order(ByteOrder.LITTLE_ENDIAN).getLong();
    List<Integer> lengths =
        List.of(0, 1, 7, 8, 9, 8 + header / 2, 8 + header, 9 + header, whole.length - 1);
    for (int length : lengths) {
      Files.write(file(), Arrays.copyOf(whole, length));
      refused(() -> AdapterFile.open(net, file()), "adapter.safetensors");
    }
    Files.write(file(), Arrays.copyOf(whole, whole.length + 1)); // trailing byte
    refused(() -> AdapterFile.open(net, file()), "adapter.safetensors");
  }

  @Test
  void headersThatLieAreRefused() throws IOException {
    for (long size : new long[] {100_000_001, Long.MAX_VALUE, -1, 0}) {
      writeHeader(size, "{}");
      refused(() -> AdapterFile.open(net, file()), "adapter.safetensors");
    }
    String entry = "\"%s\":{\"dtype\":\"F32\",\"shape\":%s,\"data_offsets\":[%s]}";
    for (String[] lie :
        new String[][] {
          {"[1000000,1000000]", "0,4000000000000"},
          {"[2,6]", "0,44"},
          {"[2,6]", "48,0"},
          {"[-2,-6]", "0,48"},
          {"[4294967296,4294967296,4294967296]", "0,48"}
        }) {
      String json = "{" + String.format(entry, LIN + "lora_down.weight", lie[0], lie[1]) + "}";
      writeHeader(json.length(), json, new byte[48]);
      refused(() -> AdapterFile.open(net, file()), "adapter.safetensors");
    }
    String deep = "[".repeat(100_000);
    writeHeader(deep.length(), deep);
    refused(() -> AdapterFile.open(net, file()), "adapter.safetensors");
  }

  private void writeHeader(long size, String json, byte... data) {
    byte[] text = json.getBytes(StandardCharsets.UTF_8);
    ByteBuffer bytes =
        ByteBuffer.allocate(8 + text.length + data.length).order(ByteOrder.LITTLE_ENDIAN);
    bytes.putLong(size).put(text).put(data);
    try {
      Files.write(file(), bytes.array());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Test
  void valuesThatAreNoNumbersAreRefused() {
    for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
      float[] values = random(10, 2).toFloatArray();
      values[13] = bad;
      Tensor up = Tensor.of(values, 10, 2);
      refusedFile(lora(LIN + "lora_up.weight", up), "lin.lora_B.weight", "not finite");
      refusedFile(lora(LIN + "lora_up.weight", up.to(DType.F16)), "lin.lora_B.weight");
      refusedFile(lora(LIN + "alpha", number(bad)), "lin", "alpha must be finite");
    }
  }

  @Test
  void shapesThatDoNotFitAreRefused() {
    refusedFile(lora(LIN + "lora_down.weight", random(6, 2)), "lin.lora_", "[");
    refusedFile(lora(LIN + "lora_up.weight", random(10, 3)), "lin.lora_B.weight", "[10, 3]");
    refusedFile(lora(LIN + "lora_up.weight", random(11, 2)), "lin.lora_B.weight", "[11, 2]");
    refusedFile(lora(LIN + "lora_down.weight", random(2, 7)), "lin.lora_A.weight", "[2, 7]");
    refusedFile(lora(LIN + "lora_down.weight", random(12)), LIN + "lora_down.weight");
    refusedFile(lora(LIN + "lora_down.weight", number(1)), LIN + "lora_down.weight");
    refusedFile(
        lora(
            LIN + "lora_down.weight",
            Tensor.of(new float[0], 0, 6),
            LIN + "lora_up.weight",
            Tensor.of(new float[0], 10, 0)),
        LIN + "lora_down.weight",
        "[0, 6]");
    refusedFile(lora(LIN + "alpha", random(2)), LIN + "alpha", "one number");
    refusedFile(
        lora(LIN + "lora_up.weight", Tensor.of(new long[20], 10, 2)), "lin.lora_B.weight", "i64");
    refusedFile(lora(LIN + "lora_mid.weight", random(2, 2, 3, 3)), "lora_mid.weight");
    refusedFile(lora(LIN + "dora_scale", random(7, 1)), LIN + "dora_scale", "[7, 1]");
    refusedFile(lora(LIN + "scalar", number(0.5)), LIN + "scalar");
  }

  @Test
  void factorsThatAreMissingOrOfNoKindAreNamed() {
    refusedFile(lora(LIN + "lora_down.weight", null), "lin", "lora_up.weight");
    refusedFile(lora(LIN + "lora_up.weight", null), "lin.lora_B.weight");
    refusedFile(lora(LIN + "lora_left.weight", random(2, 6)), LIN + "lora_left.weight");
    refusedFile(lora("lora_unet_other.lora_down.weight", random(2, 6)), "lora_unet_other");
    refusedFile(Map.of(LIN + "alpha", number(1)), "lin", LIN + "alpha");
    refusedFile(Map.of("whatever", number(1)), "whatever");
    refusedFile(Map.of(), "no adapter");
  }

  @Test
  void otherKindsAreCheckedAsWell() {
    Map<String, Tensor> loha = new LinkedHashMap<>();
    for (int i = 1; i <= 2; i++) {
      loha.put(LIN + "hada_w" + i + "_a", random(10, 2));
      loha.put(LIN + "hada_w" + i + "_b", random(2, 6));
    }
    AdapterFile.open(net, save(loha)).adapter().close();
    refusedFile(new LinkedHashMap<>(changed(copy(loha), LIN + "hada_w2_b", null)), "hada_w2_b");
    refusedFile(changed(copy(loha), LIN + "hada_w2_a", random(10, 3)), "hada_w2_a", "[10, 3]");
    refusedFile(changed(copy(loha), LIN + "hada_t1", random(2, 2, 3, 3)), "hada_t1");
    Map<String, Tensor> lokr = new LinkedHashMap<>();
    lokr.put(LIN + "lokr_w1", random(2, 3));
    lokr.put(LIN + "lokr_w2", random(5, 2));
    AdapterFile.open(net, save(lokr)).adapter().close();
    refusedFile(changed(copy(lokr), LIN + "lokr_w1", random(3, 3)), "lin", "3 x 3");
    refusedFile(changed(copy(lokr), LIN + "lokr_w1", Tensor.of(new float[0], 0, 3)), "lin");
    refusedFile(changed(copy(lokr), LIN + "lokr_w2", random(5, 3)), "lokr_w2", "[5, 3]");
    refusedFile(changed(copy(lokr), LIN + "lokr_w2", null), "lokr_w2");
    refusedFile(Map.of(LIN + "oft_blocks", random(3, 3, 3)), "lin", "10 outputs");
    refusedFile(Map.of(LIN + "oft_blocks", random(2, 5)), "oft_blocks");
    refusedFile(
        Map.of(LIN + "oft_blocks", random(2, 5, 5), LIN + "alpha", number(-1)),
        "lin",
        "the constraint not negative");
    refusedFile(Map.of(LIN + "a1.weight", random(6, 2)), "a2.weight");
    refusedFile(Map.of(LIN + "diff", random(10, 5)), "lin.diff", "[10, 5]");
    refusedFile(Map.of("lora_unet_table.a1.weight", random(6, 2)), "table");
  }

  private static Map<String, Tensor> copy(Map<String, Tensor> tensors) {
    return new LinkedHashMap<>(tensors);
  }

  @Test
  void aFileForAnotherModelIsRefused() {
    Path file = file();
    for (AdapterKind kind :
        List.of(Lora.rank(2), Loha.rank(2), Lokr.rank(50), new Dora(Lora.rank(2)))) {
      try (Linear other = new Linear(Weights.init(Rng.seed(1)).at("lin"), 8, 12);
          AdapterSet set = AdapterSet.attach(other, Targets.all(), kind, Rng.seed(1))) {
        AdapterWriter.saveKohya(
            set, AdapterFile.Component.UNET, UnaryOperator.identity(), DType.F32, file);
      }
      refused(() -> AdapterFile.open(net, file), "lin", "adapter.safetensors");
    }
  }

  // ---- PEFT's folders

  private static final String CONFIG =
      "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 2, \"target_modules\": [\"lin\"]}";

  private Path peft(String config, Map<String, Tensor> tensors) {
    try {
      Path peft = Files.createDirectories(folder.resolve("peft"));
      Files.writeString(peft.resolve("adapter_config.json"), config);
      SafeTensors.save(peft.resolve("adapter_model.safetensors"), tensors);
      return peft;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static Map<String, Tensor> factors(Object... changes) {
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    tensors.put("base_model.model.lin.lora_A.weight", random(2, 6));
    tensors.put("base_model.model.lin.lora_B.weight", random(10, 2));
    return changed(tensors, changes);
  }

  private void refusedPeft(String config, Map<String, Tensor> tensors, String... parts) {
    Path peft = peft(config, tensors);
    String[] all = Arrays.copyOf(parts, parts.length + 1);
    all[parts.length] = peft.toString();
    refused(() -> PeftFolder.open(net, peft), all);
  }

  @Test
  void configurationsThatMakeNoSenseAreRefused() {
    PeftFolder.open(net, peft(CONFIG, factors())).close();
    List<String[]> wrong = new ArrayList<>();
    wrong.add(new String[] {"\"r\": -2", "r", "-2"});
    wrong.add(new String[] {"\"r\": 0", "r", "0"});
    wrong.add(new String[] {"\"r\": 2.5", "r must be a whole number", "2.5"});
    wrong.add(new String[] {"\"r\": \"2\"", "r must be a whole number"});
    wrong.add(new String[] {"\"r\": [2]", "r must be a whole number"});
    wrong.add(new String[] {"\"r\": 99999999999", "r must be a whole number"});
    wrong.add(new String[] {"\"rank_pattern\": {\"lin\": -1}", "rank_pattern", "-1"});
    wrong.add(new String[] {"\"rank_pattern\": {\"lin\": 0.5}", "rank_pattern", "0.5"});
    wrong.add(new String[] {"\"rank_pattern\": {\"(\": 2}", "("});
    wrong.add(new String[] {"\"rank_pattern\": 3", "rank_pattern"});
    wrong.add(new String[] {"\"lora_alpha\": NaN", "lora_alpha"});
    wrong.add(new String[] {"\"lora_alpha\": \"big\"", "lora_alpha must be a number"});
    wrong.add(new String[] {"\"lora_dropout\": 1.5", "dropout", "1.5"});
    wrong.add(new String[] {"\"target_modules\": 7", "target_modules"});
    wrong.add(new String[] {"\"target_modules\": [\"nowhere\"]", "match none"});
    wrong.add(new String[] {"\"target_modules\": \"(\"", "regular expression"});
    wrong.add(new String[] {"\"use_rslora\": 1", "use_rslora must be true or false"});
    wrong.add(new String[] {"\"bias\": \"all\"", "bias"});
    wrong.add(new String[] {"\"use_qalora\": true", "use_qalora"});
    wrong.add(new String[] {"\"some_new_thing\": {\"a\": 1}", "some_new_thing"});
    for (String[] w : wrong) {
      String config = CONFIG.substring(0, CONFIG.length() - 1) + ", " + w[0] + "}";
      refusedPeft(config, factors(), Arrays.copyOfRange(w, 1, w.length));
    }
    for (String way : List.of("true", "false", "\"gaussian\"", "\"orthogonal\"")) {
      String config = CONFIG.substring(0, CONFIG.length() - 1) + ", \"init_lora_weights\": ";
      PeftFolder.open(net, peft(config + way + "}", factors())).close();
    }
    String pissa = CONFIG.replace("}", ", \"init_lora_weights\": \"pissa_niter_4\"}");
    refusedPeft(pissa, factors(), "init_lora_weights", "pissa_niter_4", "base model");
    refusedPeft("{", factors(), "JSON");
    refusedPeft("[]", factors(), "object");
    refusedPeft("{\"peft_type\": 3}", factors(), "peft_type");
    for (String type : List.of("LOHA", "LOKR", "ADALORA")) {
      String r = type.equals("ADALORA") ? "init_r" : "r";
      refusedPeft(
          "{\"peft_type\": \"" + type + "\", \"" + r + "\": -3, \"target_modules\": [\"lin\"]}",
          factors(),
          r,
          "-3");
    }
    refusedPeft(
        "{\"peft_type\": \"OFT\", \"oft_block_size\": -4, \"target_modules\": [\"lin\"]}",
        factors(),
        "oft_block_size");
    refusedPeft(
        "{\"peft_type\": \"OFT\", \"oft_block_size\": 4, \"target_modules\": [\"lin\"]}",
        factors(),
        "lin",
        "multiple");
    refusedPeft(
        "{\"peft_type\": \"BOFT\", \"boft_block_size\": 3, \"boft_dropout\": 2,"
            + " \"target_modules\": [\"lin\"]}",
        factors(),
        "boft_dropout");
    refusedPeft(
        "{\"peft_type\": \"VERA\", \"r\": -1, \"target_modules\": [\"lin\"]}",
        factors(),
        "r",
        "-1");
  }

  @Test
  void tensorsOfAFolderAreCheckedAsWell() throws IOException {
    String a = "base_model.model.lin.lora_A.weight";
    refusedPeft(CONFIG, factors(a, null), "lin.lora_A.weight");
    refusedPeft(CONFIG, factors(a, random(3, 6)), "lin.lora_A.weight", "[3, 6]");
    refusedPeft(CONFIG, factors(a, random(6, 2)), "lin.lora_A.weight", "[6, 2]");
    refusedPeft(
        CONFIG, factors("base_model.model.conv.lora_A.weight", random(2, 6)), "conv.lora_A");
    refusedPeft(CONFIG, factors(a, random(2, 6).div(0)), "lin.lora_A.weight", "not finite");
    refusedPeft(CONFIG, factors(a, Tensor.of(new long[12], 2, 6)), "lora_A.weight", "i64");
    Path peft = peft(CONFIG, factors());
    Path weights = peft.resolve("adapter_model.safetensors");
    byte[] whole = Files.readAllBytes(weights);
    for (int length : new int[] {0, 7, 100, whole.length - 1}) {
      Files.write(weights, Arrays.copyOf(whole, length));
      refused(() -> PeftFolder.open(net, peft), "adapter_model.safetensors");
    }
    Files.delete(weights);
    refused(() -> PeftFolder.open(net, peft), "adapter_model.safetensors");
    Files.delete(peft.resolve("adapter_config.json"));
    refused(() -> PeftFolder.open(net, peft), "adapter_config.json");
  }
}
