// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.TensorFileException;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.io.WeightsException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Files written here and read again, in each dialect; wrong files. */
class AdapterFilesTest {
  @TempDir Path folder;

  /** Names as in a transformer block, whose underscores are ambiguous. */
  private static final class Net extends Module {
    private final Linear toQ;
    private final Linear out;
    private final Conv2d conv;

    Net(Weights weights) {
      super(weights);
      toQ = child("blocks.0.attn_1.to_q", w -> new Linear(w, 6, 10));
      out = child("blocks.0.attn_1.to_out.0", w -> new Linear(w, 10, 8));
      conv = child("conv_in", w -> new Conv2d(w, 2, 4, 3));
    }

    Tensor call(Tensor x) {
      return call(() -> conv.call(out.call(toQ.call(x)).reshape(-1, 2, 2, 2)));
    }
  }

  private static Net net() {
    return new Net(Weights.init(Rng.seed(3)));
  }

  private static Tensor x() {
    return Rng.seed(4).normal(2, 6);
  }

  private static final List<AdapterKind> KINDS =
      List.of(
          Lora.rank(2).alpha(3),
          Lora.rank(3).alpha(2).rankStabilized(true),
          new Dora(Lora.rank(2)),
          Lora.rank(2).alpha(1).tucker(true),
          Loha.rank(2).alpha(3).effectiveConv(true),
          Lokr.rank(1).alpha(2).factor(2),
          Lokr.rank(50).alpha(10).factor(2));

  @Test
  void kohyaFilesGiveTheSameOutputs() {
    for (AdapterKind kind : KINDS) {
      Path file = folder.resolve("kohya.safetensors");
      roundTrip(
          kind,
          set ->
              AdapterWriter.saveKohya(
                  set, AdapterFile.Component.UNET, UnaryOperator.identity(), DType.F32, file),
          file,
          Dialect.KOHYA);
    }
  }

  @Test
  void diffusersFilesGiveTheSameOutputs() {
    for (AdapterKind kind : KINDS.subList(0, 3)) {
      Path file = folder.resolve("diffusers.safetensors");
      roundTrip(
          kind,
          set -> AdapterWriter.saveDiffusers(set, AdapterFile.Component.UNET, file),
          file,
          Dialect.DIFFUSERS);
    }
  }

  private interface Writer {
    void write(AdapterSet set);
  }

  private static void roundTrip(AdapterKind kind, Writer writer, Path file, Dialect dialect) {
    try (Net net = net();
        Scope scope = Scope.open()) {
      float[] plain = net.call(x()).toFloatArray();
      float[] adapted;
      try (AdapterSet set = AdapterSet.attach(net, Targets.all(), kind, Rng.seed(5))) {
        AdapterKindsTest.disturb(set);
        adapted = net.call(x()).toFloatArray();
        writer.write(set);
      }
      AdapterFile.Loaded loaded = AdapterFile.open(net, file);
      assertEquals(dialect, loaded.dialect());
      try (AdapterSet set = loaded.adapter()) {
        assertEquals(
            Set.of("blocks.0.attn_1.to_q", "blocks.0.attn_1.to_out.0", "conv_in"),
            set.parts().keySet());
        assertArrayEquals(adapted, net.call(x()).toFloatArray(), 2e-6f, kind.toString());
      }
      assertArrayEquals(plain, net.call(x()).toFloatArray());
    }
  }

  /** Factors of one linear layer under the names of a dialect. */
  private Path write(String down, String up, Map<String, Tensor> more) {
    Map<String, Tensor> tensors = new LinkedHashMap<>(more);
    tensors.put(down, Rng.seed(6).normal(2, 6));
    tensors.put(up, Rng.seed(7).normal(10, 2));
    Path file = folder.resolve("one.safetensors");
    SafeTensors.save(file, tensors);
    return file;
  }

  @Test
  void everyDialectIsTold() {
    Map<Dialect, String[]> names = new LinkedHashMap<>();
    String layer = "blocks.0.attn_1.to_q";
    names.put(
        Dialect.PEFT,
        new String[] {
          "base_model.model." + layer + ".lora_A.weight",
          "base_model.model." + layer + ".lora_B.weight"
        });
    names.put(
        Dialect.DIFFUSERS,
        new String[] {
          "unet.blocks.0.attn_1.processor.to_q_lora.down.weight",
          "unet.blocks.0.attn_1.processor.to_q_lora.up.weight"
        });
    names.put(
        Dialect.KOHYA,
        new String[] {
          "lora_unet_blocks_0_attn_1_to_q.lora_down.weight",
          "lora_unet_blocks_0_attn_1_to_q.lora_up.weight"
        });
    names.put(
        Dialect.LYCORIS,
        new String[] {
          "lycoris_blocks_0_attn_1_to_q.lora_down.weight",
          "lycoris_blocks_0_attn_1_to_q.lora_up.weight"
        });
    names.put(
        Dialect.HCP,
        new String[] {"lora:" + layer + ".___.layer.W_down", "lora:" + layer + ".___.layer.W_up"});
    names.put(Dialect.MICROSOFT, new String[] {layer + ".lora_A", layer + ".lora_B"});
    try (Net net = net();
        Scope scope = Scope.open()) {
      float[] expected = null;
      for (Map.Entry<Dialect, String[]> e : names.entrySet()) {
        Path file = write(e.getValue()[0], e.getValue()[1], Map.of());
        AdapterFile.Loaded loaded = AdapterFile.open(net, file);
        assertEquals(e.getKey(), loaded.dialect());
        try (AdapterSet set = loaded.adapter()) {
          float[] y = net.call(x()).toFloatArray();
          expected = expected == null ? y : expected;
          assertArrayEquals(expected, y, e.getKey().toString()); // all of scale 1
        }
      }
    }
  }

  @Test
  void nothingIsDropped() {
    try (Net net = net();
        Scope scope = Scope.open()) {
      float[] plain = net.call(x()).toFloatArray();
      String key = "lora_unet_blocks_0_attn_1_to_q.lora_";
      Path file =
          write(
              key + "down.weight",
              key + "up.weight",
              Map.of("lora_unet_blocks_7_to_q.lora_down.weight", Tensor.ones(2, 6)));
      assertError(net, file, "1 tensors have no place", "lora_unet_blocks_7_to_q");
      file = write(key + "down.weight", key + "sideways.weight", Map.of());
      assertError(net, file, "no place", "sideways");
      file = write("lora_te_q.lora_down.weight", "lora_te_q.lora_up.weight", Map.of());
      assertError(net, file, "holds no adapter for unet");
      file = write(key + "up.weight", key + "down.weight", Map.of()); // exchanged
      assertError(net, file, "shape");
      file = write(key + "down.weight", key + "mid.weight", Map.of());
      assertError(net, file, "lora_B.weight");
      assertArrayEquals(plain, net.call(x()).toFloatArray());
      assertTrue(net.modules().values().stream().noneMatch(AdapterFilesTest::isAdapted));
    }
  }

  private static boolean isAdapted(Module module) {
    return module instanceof io.sfumato.models.nn.WeightLayer layer && !layer.adapters().isEmpty();
  }

  private static void assertError(Net net, Path file, String... parts) {
    RuntimeException e = assertThrows(RuntimeException.class, () -> AdapterFile.open(net, file));
    assertTrue(
        e instanceof IllegalArgumentException || e instanceof WeightsException, e.toString());
    for (String part : parts) {
      assertTrue(e.getMessage().contains(part), e.getMessage());
    }
  }

  @Test
  void hostileFilesLeaveTheModelAlone() throws IOException {
    Path file = folder.resolve("garbage.safetensors");
    Files.write(file, new byte[] {1, 2, 3});
    try (Net net = net();
        Scope scope = Scope.open()) {
      assertThrows(TensorFileException.class, () -> AdapterFile.open(net, file));
      Path peft = Files.createDirectories(folder.resolve("peft"));
      Files.writeString(
          peft.resolve("adapter_config.json"), "{\"peft_type\": \"LORA\", \"r\": \"x\"}");
      IllegalArgumentException wrong =
          assertThrows(IllegalArgumentException.class, () -> PeftFolder.open(net, peft));
      assertTrue(wrong.getMessage().contains("r must be a whole number"), wrong.getMessage());
      Files.writeString(
          peft.resolve("adapter_config.json"),
          "{\"peft_type\": \"LORA\", \"r\": 2, \"target_modules\": [\"to_q\"],"
              + " \"layer_replication\": [[0, 4]], \"target_parameters\": [\"conv_in\"]}");
      wrong = assertThrows(IllegalArgumentException.class, () -> PeftFolder.open(net, peft));
      assertTrue(wrong.getMessage().contains("layer_replication"), wrong.getMessage());
      assertTrue(wrong.getMessage().contains("target_parameters"), wrong.getMessage());
      Files.writeString(peft.resolve("adapter_config.json"), "{\"peft_type\": \"MAGIC\"}");
      wrong = assertThrows(IllegalArgumentException.class, () -> PeftFolder.open(net, peft));
      assertTrue(wrong.getMessage().contains("these are: ADALORA, BOFT"), wrong.getMessage());
      assertTrue(net.modules().values().stream().noneMatch(AdapterFilesTest::isAdapted));
    }
  }
}
