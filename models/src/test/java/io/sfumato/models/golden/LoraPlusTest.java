// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.golden;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.autograd.optim.ParameterGroup;
import io.sfumato.models.adapter.AdapterKind;
import io.sfumato.models.adapter.AdapterSet;
import io.sfumato.models.adapter.Dora;
import io.sfumato.models.adapter.Loha;
import io.sfumato.models.adapter.Lora;
import io.sfumato.models.adapter.LoraPlus;
import io.sfumato.models.adapter.Targets;
import io.sfumato.models.adapter.WholeLayer;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.io.Weights;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

/** The groups of LoRA+ against PEFT's ({@code models/src/test/golden/make_loraplus.py}). */
class LoraPlusTest {
  @Test
  void groupsArePefts() throws URISyntaxException {
    JsonNode peft =
        ModelConfig.read(Path.of(LoraPlusTest.class.getResource("/peft_loraplus.json").toURI()));
    check(peft.path("lora"), Lora.rank(2), "emb", "lin1", "conv1", "conv2");
    check(peft.path("dora"), new Dora(Lora.rank(2)), "lin1", "lin2");
    check(peft.path("bias"), Lora.rank(2).bias(true), "lin1");
    check(peft.path("loha"), Loha.rank(2), "lin1");
    assertEquals(4, peft.size());
  }

  private static void check(JsonNode expected, AdapterKind kind, String... layers) {
    try (PeftBase base = new PeftBase(Weights.init(Rng.seed(1)));
        AdapterSet set =
            AdapterSet.attach(
                base,
                Targets.suffixes(List.of(layers)),
                layer -> layer.path().equals("conv2") ? new WholeLayer() : kind,
                Rng.seed(2))) {
      Map<String, List<Double>> ours = new TreeMap<>();
      for (ParameterGroup group : LoraPlus.ratio(16).weightDecay(0.01).groups(set, 1e-3)) {
        for (Parameter p : group.parameters()) {
          ours.put(p.name(), List.of(group.learningRate(), group.weightDecay()));
        }
      }
      Map<String, List<Double>> theirs = new TreeMap<>();
      expected
          .properties()
          .forEach(
              e ->
                  theirs.put(
                      e.getKey(),
                      List.of(e.getValue().get(0).asDouble(), e.getValue().get(1).asDouble())));
      assertEquals(theirs, ours);
    }
  }

  @Test
  void ratiosBelowOneAreRefused() {
    assertThrows(IllegalArgumentException.class, () -> LoraPlus.ratio(0.5));
    assertThrows(IllegalArgumentException.class, () -> LoraPlus.ratio(Double.NaN));
    assertThrows(IllegalArgumentException.class, () -> LoraPlus.ratio(2).embeddingRate(-1));
  }
}
