// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.golden;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.models.adapter.AdaLora;
import io.sfumato.models.adapter.AdapterKind;
import io.sfumato.models.adapter.AdapterSet;
import io.sfumato.models.adapter.Boft;
import io.sfumato.models.adapter.DeltaLora;
import io.sfumato.models.adapter.Dora;
import io.sfumato.models.adapter.DyLora;
import io.sfumato.models.adapter.Ia3;
import io.sfumato.models.adapter.Loha;
import io.sfumato.models.adapter.Lokr;
import io.sfumato.models.adapter.Lora;
import io.sfumato.models.adapter.Oft;
import io.sfumato.models.adapter.PeftFolder;
import io.sfumato.models.adapter.Targets;
import io.sfumato.models.adapter.TrainedTokens;
import io.sfumato.models.adapter.Vera;
import io.sfumato.models.adapter.WholeLayer;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Num;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/**
 * Adapters trained and saved here, loaded by PEFT itself. {@code resources/peft/<kind>} holds what
 * {@link #main} wrote and, in {@code peft.safetensors}, the outputs that PEFT computed from it
 * ({@code models/src/test/golden/check_peft.py}).
 */
class PeftRoundTripTest {
  @TempDir Path temporary;

  private record Case(Predicate<String> targets, Function<WeightLayer, AdapterKind> kinds) {
    static Case of(AdapterKind kind, String... layers) {
      return new Case(Targets.suffixes(List.of(layers)), layer -> kind);
    }
  }

  private static Map<String, Case> cases() {
    Map<String, Case> cases = new LinkedHashMap<>();
    cases.put("lora", Case.of(Lora.rank(3).alpha(5), "lin1", "lin2", "conv1", "conv2"));
    cases.put("lora_bias", Case.of(Lora.rank(2).bias(true), "lin1", "conv1"));
    cases.put("rslora", Case.of(Lora.rank(4).alpha(3).rankStabilized(true), "lin1", "lin2"));
    cases.put("lora_embedding", Case.of(Lora.rank(3).alpha(2), "emb", "lin1"));
    cases.put(
        "lora_patterns",
        new Case(
            Targets.suffixes(List.of("lin1", "lin2", "conv1")),
            layer ->
                layer.path().equals("lin2")
                    ? Lora.rank(2).alpha(7)
                    : layer.path().equals("conv1") ? Lora.rank(5).alpha(4) : Lora.rank(3)));
    cases.put("dora", Case.of(new Dora(Lora.rank(3).alpha(4)), "lin1", "lin2", "conv1"));
    cases.put("dora_conv", Case.of(new Dora(Lora.rank(2).alpha(3)), "conv1", "conv2"));
    cases.put("dora_embedding", Case.of(new Dora(Lora.rank(3).alpha(2)), "emb", "lin1"));
    cases.put(
        "rslora_conv",
        Case.of(Lora.rank(4).alpha(3).rankStabilized(true), "conv1", "conv2", "emb"));
    cases.put("loha", Case.of(Loha.rank(2).alpha(3), "lin1", "lin2", "conv1", "conv2"));
    cases.put("loha_cores", Case.of(Loha.rank(2).effectiveConv(true), "lin1", "conv1"));
    cases.put("lokr", Case.of(Lokr.rank(1).alpha(2), "lin1", "lin2", "conv1", "conv2"));
    cases.put("lokr_full", Case.of(Lokr.rank(30).alpha(20).factor(2), "lin1", "conv1"));
    cases.put(
        "lokr_both", Case.of(new Lokr(1, 1, -1, true, true, 0, false, 0), "lin1", "lin2", "conv1"));
    cases.put(
        "ia3",
        new Case(
            Targets.suffixes(List.of("lin1", "lin2", "conv1")),
            layer -> new Ia3(layer.path().equals("lin2"))));
    cases.put(
        "ia3_conv",
        new Case(
            Targets.suffixes(List.of("conv1", "conv2", "lin1")),
            layer -> new Ia3(layer.path().equals("conv2"))));
    cases.put("oft", Case.of(Oft.blocks(4), "lin1", "lin2"));
    cases.put("oft_exact", Case.of(new Oft(4, false, 0), "lin1", "lin2"));
    cases.put("oft_shared", Case.of(new Oft(4, true, 3), "lin1", "lin2"));
    cases.put("oft_conv", Case.of(Oft.blocks(4), "conv1", "lin1"));
    cases.put("oft_constrained", Case.of(new Oft(4, false, 5, 0.05, 0), "lin1", "lin2"));
    cases.put("oft_constrained_shared", Case.of(new Oft(4, true, 0, 0.05, 0.5), "lin1", "lin2"));
    cases.put("oft_embedding", Case.of(Oft.blocks(3), "emb", "lin1"));
    cases.put("oft_point", Case.of(new Oft(2, false, 0), "conv2"));
    cases.put("boft_conv", Case.of(new Boft(4, 1, 0.2), "conv1", "conv2", "lin2"));
    cases.put("boft", Case.of(new Boft(4, 1), "lin1", "conv2"));
    cases.put("vera", Case.of(Vera.rank(5), "lin1", "lin2"));
    cases.put("vera_dropout", Case.of(Vera.rank(3).dropout(0.1), "lin1", "lin2"));
    cases.put("adalora", Case.of(AdaLora.rank(3).alpha(4), "lin1", "lin2"));
    cases.put(
        "adalora_pruned",
        new Case(
            Targets.suffixes(List.of("lin1", "lin2")),
            layer -> new AdaLora(layer.path().equals("lin1") ? 1 : 4, 4, 6)));
    cases.put("dylora", Case.of(DyLora.rank(4, 2).alpha(3), "lin1", "conv1"));
    cases.put("delta_lora", Case.of(new DeltaLora(Lora.rank(2).alpha(3), 0.5, 2), "lin1", "conv1"));
    cases.put(
        "whole_layers",
        new Case(
            Targets.suffixes(List.of("lin1", "conv1", "conv2", "emb")),
            layer ->
                layer.path().equals("conv2") || layer.path().equals("emb")
                    ? new WholeLayer()
                    : Lora.rank(3).alpha(5)));
    cases.put("tokens", Case.of(new TrainedTokens(List.of(7, 3)), "emb"));
    cases.put(
        "tokens_beside",
        new Case(
            Targets.suffixes(List.of("lin1", "emb")),
            layer -> layer.path().equals("emb") ? new TrainedTokens(List.of(9, 0)) : Lora.rank(2)));
    return cases;
  }

  private static Path resources() {
    try {
      return Path.of(PeftRoundTripTest.class.getResource("/peft").toURI());
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  private static PeftBase base() {
    return new PeftBase(Weights.init(Rng.seed(17)));
  }

  private static Tensor x() {
    return Rng.seed(18).normal(5, 12);
  }

  private static Tensor ids() {
    return Tensor.of(new long[] {3, 0, 9, 3, 7}, 5);
  }

  /** A few steps towards a random target. */
  private static AdapterSet train(PeftBase base, Case c) {
    AdapterSet set = AdapterSet.attach(base, c.targets, c.kinds, Rng.seed(19));
    try (Scope scope = Scope.open();
        AdamW optimizer =
            new AdamW(set.parameters(), AdamW.options().learningRate(0.05).weightDecay(0))) {
      Tensor target = Rng.seed(20).normal(5, 6, 3, 3);
      for (int i = 0; i < 5; i++) {
        optimizer.step(
            Autograd.valueAndGrad(
                    set.parameters(), () -> Num.mean(Num.square(base.call(x(), ids()).sub(target))))
                .gradients());
        set.stepped(i + 1);
      }
    }
    return set;
  }

  /**
   * Writes the folders for PEFT.
   *
   * @param args where to
   */
  public static void main(String[] args) {
    Path out = Path.of(args[0]);
    cases()
        .forEach(
            (name, c) -> {
              try (PeftBase base = base();
                  Scope scope = Scope.open();
                  AdapterSet set = train(base, c)) {
                PeftFolder.save(set, out.resolve(name));
                if (name.equals("lora")) {
                  SafeTensors.save(out.resolve("base.safetensors"), base.stateDict());
                  SafeTensors.save(
                      out.resolve("inputs.safetensors"), Map.of("x", x(), "ids", ids()));
                }
              }
            });
  }

  @TestFactory
  Stream<DynamicTest> everyKind() {
    return cases().entrySet().stream()
        .map(e -> DynamicTest.dynamicTest(e.getKey(), () -> check(e.getKey(), e.getValue())));
  }

  private void check(String name, Case c) {
    Path recorded = resources().resolve(name);
    Path fresh = temporary.resolve(name);
    try (PeftBase base = base();
        Scope scope = Scope.open();
        SafeTensors peft = SafeTensors.open(recorded.resolve("peft.safetensors"))) {
      Tensor trained;
      try (AdapterSet set = train(base, c)) {
        trained = base.call(x(), ids());
        PeftFolder.save(set, fresh);
      }
      sameFiles(recorded, fresh);
      // PEFT's forward and merge of OFT on convolutions differ; its merge does what OFT means.
      Tensor expected = peft.read(name.equals("oft_conv") ? "merged" : "y");
      Golden.assertClose("PEFT's output", expected, trained, 1e-4);
      try (AdapterSet set = PeftFolder.open(base, recorded)) {
        Golden.assertClose("read again", expected, base.call(x(), ids()), 1e-5);
        set.merge();
        Golden.assertClose("merged", peft.read("merged"), base.call(x(), ids()), 1e-5);
      }
    }
  }

  /** Keys and shapes are those PEFT gives the same adapter when it saves it. */
  private static void sameFiles(Path recorded, Path fresh) {
    String weights = "adapter_model.safetensors";
    try (SafeTensors ours = SafeTensors.open(fresh.resolve(weights));
        SafeTensors before = SafeTensors.open(recorded.resolve(weights));
        SafeTensors theirs = SafeTensors.open(recorded.resolve("peft_model.safetensors"))) {
      assertEquals(before.entries().keySet(), ours.entries().keySet());
      assertEquals(theirs.entries().keySet(), ours.entries().keySet());
      theirs
          .entries()
          .forEach((key, entry) -> assertEquals(entry.dims(), ours.entries().get(key).dims(), key));
    }
    JsonNode config = ModelConfig.read(fresh.resolve("adapter_config.json"));
    assertEquals(ModelConfig.read(recorded.resolve("adapter_config.json")), config);
    JsonNode theirs = ModelConfig.read(recorded.resolve("peft_config.json"));
    config
        .properties()
        .forEach(
            e -> {
              assertTrue(theirs.has(e.getKey()), e.getKey() + " is no key of PEFT's");
              if (e.getKey().endsWith("modules") || e.getKey().equals("modules_to_save")) {
                assertEquals(names(theirs.get(e.getKey())), names(e.getValue()), e.getKey());
              } else if (!e.getValue().isNumber()) {
                assertEquals(theirs.get(e.getKey()), e.getValue(), e.getKey());
              }
            });
  }

  /** PEFT writes sets in any order. */
  private static Set<String> names(JsonNode list) {
    Set<String> names = new TreeSet<>();
    list.forEach(n -> names.add(n.asText()));
    return names;
  }
}
