// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.GroupNorm;
import io.sfumato.models.nn.LayerNorm;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.Norm;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.io.WeightsException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What adapters hold beside factors: whole layers, tokens, normalisations. */
class BesideFactorsTest {
  private static final float[] NOTHING = {};

  @TempDir Path folder;

  private static final class Net extends Module {
    private final Embedding table;
    private final LayerNorm norm;
    private final LayerNorm plain;
    private final Linear middle;
    private final GroupNorm groups;
    private final Linear head;

    Net(Weights weights) {
      super(weights);
      table = child("wte", w -> new Embedding(w, 10, 6));
      norm = child("block.norm_1", w -> new LayerNorm(w, 6, 1e-5, true));
      plain = child("block.norm_2", w -> new LayerNorm(w, 6, 1e-5, false));
      middle = child("block.fc", w -> new Linear(w, 6, 8));
      groups = child("groups", w -> new GroupNorm(w, 2, 8, 1e-5));
      head = child("classifier.out", w -> new Linear(w, 8, 3));
    }

    Tensor call(Tensor ids) {
      return call(
          () -> {
            Tensor x = middle.call(plain.call(norm.call(table.call(ids)))); // [n, 8]
            return head.call(groups.callSilu(x.reshape(x.dim(0), 8, 1)).reshape(x.dim(0), 8));
          });
    }
  }

  private static Net net() {
    return new Net(Weights.init(Rng.seed(3)));
  }

  private static Tensor ids() {
    return Tensor.of(new long[] {4, 9, 0, 4}, 4);
  }

  private static AdapterKind kind(WeightLayer layer) {
    return switch (layer.path()) {
      case "classifier.out", "block.norm_1", "groups" -> new WholeLayer();
      case "wte" -> new TrainedTokens(List.of(9, 4));
      default -> Lora.rank(2);
    };
  }

  @Test
  void wholeLayersAndTokensGoToAFolderAndBack() {
    try (Net net = net();
        Scope scope = Scope.open()) {
      Map<String, float[]> before = values(net);
      float[] plain = net.call(ids()).toFloatArray();
      float[] adapted;
      try (AdapterSet set =
          AdapterSet.attach(net, Targets.all(), BesideFactorsTest::kind, Rng.seed(5))) {
        assertEquals(
            Set.of("wte", "block.norm_1", "block.fc", "groups", "classifier.out"),
            set.parts().keySet());
        AdapterKindsTest.disturb(set);
        adapted = net.call(ids()).toFloatArray();
        assertNotEquals(plain[0], adapted[0]);
        assertArrayEquals(plain, set.without(() -> net.call(ids())).toFloatArray());
        PeftFolder.save(set, folder);
      }
      assertArrayEquals(plain, net.call(ids()).toFloatArray());
      try (AdapterSet set = PeftFolder.open(net, folder)) {
        assertArrayEquals(adapted, net.call(ids()).toFloatArray());
        set.merge();
        assertArrayEquals(adapted, net.call(ids()).toFloatArray(), 1e-6f);
        set.unmerge();
      }
      before.forEach(
          (name, value) -> assertArrayEquals(value, values(net).getOrDefault(name, NOTHING), name));
    }
  }

  private static Map<String, float[]> values(Module module) {
    Map<String, float[]> values = new LinkedHashMap<>();
    module.stateDict().forEach((name, value) -> values.put(name, value.toFloatArray()));
    return values;
  }

  /** PEFT matches the ends of names, and a module around layers saves them all. */
  @Test
  void aModuleAroundLayersIsSavedAsAWhole() throws IOException {
    try (Net net = net();
        Scope scope = Scope.open()) {
      try (AdapterSet set =
          AdapterSet.attach(
              net, Targets.suffixes(List.of("fc", "out")), BesideFactorsTest::kind, Rng.seed(5))) {
        PeftFolder.save(set, folder);
      }
      rewrite("\"classifier.out\"", "\"assifier\"");
      try (AdapterSet set = PeftFolder.open(net, folder)) {
        assertTrue(set.kinds().get("classifier.out") instanceof WholeLayer);
      }
      rewrite("\"assifier\"", "\"groups\"");
      WeightsException missing =
          assertThrows(WeightsException.class, () -> PeftFolder.open(net, folder));
      assertTrue(missing.getMessage().contains("groups.weight"), missing.getMessage());
      rewrite("\"groups\"", "\"nothing\"");
      WeightsException left =
          assertThrows(WeightsException.class, () -> PeftFolder.open(net, folder));
      assertTrue(left.getMessage().contains("classifier.out.weight"), left.getMessage());
      assertUntouched(net);
    }
  }

  private void rewrite(String text, String other) throws IOException {
    Path file = folder.resolve("adapter_config.json");
    String json = Files.readString(file);
    assertTrue(json.contains(text), json);
    Files.writeString(file, json.replace(text, other));
  }

  @Test
  void wrongTokensAreRefused() throws IOException {
    try (Net net = net();
        Scope scope = Scope.open()) {
      try (AdapterSet set =
          AdapterSet.attach(
              net, Targets.suffixes(List.of("fc", "wte")), BesideFactorsTest::kind, Rng.seed(5))) {
        PeftFolder.save(set, folder);
      }
      String file = Files.readString(folder.resolve("adapter_config.json")).replaceAll("\\s", "");
      assertTrue(file.contains("\"trainable_token_indices\":{\"wte\":[9,4]}"), file);
      List<String> messages = new ArrayList<>();
      for (String tokens : List.of("[9,4,4]", "[9,-4]", "[\"a\"]", "[9]", "{\"fc\":[9,4]}")) {
        Files.writeString(
            folder.resolve("adapter_config.json"), file.replace("{\"wte\":[9,4]}", tokens));
        messages.add(
            assertThrows(RuntimeException.class, () -> PeftFolder.open(net, folder)).getMessage());
      }
      for (String message : messages.subList(0, 3)) {
        assertTrue(message.contains("must be a list of different tokens"), message);
      }
      assertTrue(messages.get(3).contains("trainable_tokens_delta"), messages.get(3));
      assertTrue(messages.get(4).contains("only an embedding has tokens"), messages.get(4));
      Files.writeString(
          folder.resolve("adapter_config.json"), file.replace("{\"wte\":[9,4]}", "[9,4]"));
      PeftFolder.open(net, folder).close(); // the model's only table of tokens
      assertUntouched(net);
    }
  }

  @Test
  void newTokensAreNotPefts() {
    try (Net net = net();
        Scope scope = Scope.open();
        AdapterSet set =
            AdapterSet.attach(
                net, "wte"::equals, new TrainedTokens(List.of(10, 11)), Rng.seed(5))) {
      Tensor two = net.call(Tensor.of(new long[] {11, 10}, 2));
      assertEquals(2, two.dim(0));
      assertThrows(IllegalArgumentException.class, () -> PeftFolder.save(set, folder));
      IllegalStateException merge = assertThrows(IllegalStateException.class, set::merge);
      assertTrue(merge.getMessage().contains("new tokens cannot be merged"), merge.getMessage());
      assertThrows(
          RuntimeException.class, () -> set.without(() -> net.call(Tensor.of(new long[] {11}, 1))));
    }
  }

  @Test
  void wholeLayersAloneAreNotPefts() {
    try (Net net = net();
        Scope scope = Scope.open();
        AdapterSet set =
            AdapterSet.attach(net, "block.fc"::equals, new WholeLayer(), Rng.seed(5))) {
      IllegalArgumentException e =
          assertThrows(IllegalArgumentException.class, () -> PeftFolder.save(set, folder));
      assertTrue(e.getMessage().contains("beside an adapter only"), e.getMessage());
    }
  }

  /** LyCORIS's names of normalisations; those without a weight cannot have them. */
  @Test
  void normsOfLycorisFiles() {
    try (Net net = net();
        Scope scope = Scope.open()) {
      Tensor w = Rng.seed(7).normal(6).mul(0.1);
      Tensor b = Rng.seed(8).normal(6).mul(0.1);
      Path file = folder.resolve("norms.safetensors");
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      tensors.put("lora_unet_block_norm_1.w_norm", w);
      tensors.put("lora_unet_block_norm_1.b_norm", b);
      SafeTensors.save(file, tensors);
      float[] adapted;
      try (AdapterSet set = AdapterFile.open(net, file).adapter()) {
        assertTrue(set.kinds().get("block.norm_1") instanceof NormDifference);
        adapted = net.call(ids()).toFloatArray();
      }
      Weights weights = Weights.init(Rng.seed(3));
      try (Net changed = new Net(weights)) {
        for (var p : changed.parameters()) {
          if (p.name().startsWith("block.norm_1")) {
            Tensor change = p.name().endsWith("weight") ? w : b;
            io.sfumato.tensor.ops.Updates.add(p.value(), change, 1);
          }
        }
        assertArrayEquals(changed.call(ids()).toFloatArray(), adapted, 1e-6f);
      }
      tensors.put("lora_unet_block_norm_2.w_norm", w);
      SafeTensors.save(file, tensors);
      assertError(net, file, "with a weight");
      tensors.clear();
      tensors.put("lora_unet_block_norm_1.lora_down.weight", Tensor.ones(2, 6));
      tensors.put("lora_unet_block_norm_1.lora_up.weight", Tensor.ones(6, 2));
      SafeTensors.save(file, tensors);
      assertError(net, file, "normalisation");
      assertUntouched(net);
    }
  }

  /** Changes of normalisations and of whole weights go to LyCORIS's file and back. */
  @Test
  void normsAreWrittenAsLycorisReadsThem() {
    try (Net net = net();
        Scope scope = Scope.open()) {
      Path file = folder.resolve("lycoris.safetensors");
      float[] adapted;
      try (AdapterSet set =
          AdapterSet.attach(
              net,
              Targets.glob("block.norm_1", "groups", "block.fc"),
              layer -> layer instanceof Norm ? new NormDifference() : new FullDifference(true),
              Rng.seed(5))) {
        AdapterKindsTest.disturb(set);
        adapted = net.call(ids()).toFloatArray();
        AdapterWriter.saveKohya(
            set, AdapterFile.Component.UNET, UnaryOperator.identity(), DType.F32, file);
      }
      try (SafeTensors saved = SafeTensors.open(file)) {
        assertEquals(
            Set.of(
                "lora_unet_block_norm_1.w_norm",
                "lora_unet_block_norm_1.b_norm",
                "lora_unet_groups.w_norm",
                "lora_unet_groups.b_norm",
                "lora_unet_block_fc.diff",
                "lora_unet_block_fc.diff_b"),
            saved.entries().keySet());
      }
      try (AdapterSet set = AdapterFile.open(net, file).adapter()) {
        assertEquals(3, set.parts().size());
        assertArrayEquals(adapted, net.call(ids()).toFloatArray());
      }
    }
  }

  private static void assertError(Net net, Path file, String part) {
    RuntimeException e = assertThrows(RuntimeException.class, () -> AdapterFile.open(net, file));
    assertTrue(e.getMessage().contains(part), e.getMessage());
  }

  private static void assertUntouched(Net net) {
    net.modules()
        .values()
        .forEach(m -> assertTrue(!(m instanceof WeightLayer layer) || layer.adapters().isEmpty()));
  }
}
