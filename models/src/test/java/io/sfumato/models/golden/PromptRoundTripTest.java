// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.golden;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.models.adapter.PrefixTuning;
import io.sfumato.models.adapter.PromptLearning;
import io.sfumato.models.adapter.PromptTuning;
import io.sfumato.models.adapter.Targets;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.text.CLIPTextConfig;
import io.sfumato.models.text.CLIPTextModel;
import io.sfumato.models.vqvae.CodePrior;
import io.sfumato.models.vqvae.CodePriorConfig;
import io.sfumato.models.vqvae.CodeSampler;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.io.WeightsException;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Updates;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Prompts and prefixes trained and saved here, loaded by PEFT itself. {@code
 * resources/peft_prompts} holds what {@link #main} wrote and what PEFT computed from it ({@code
 * models/src/test/golden/check_prompts.py}).
 */
class PromptRoundTripTest {
  @TempDir Path temporary;

  private static Path resources() {
    try {
      return Path.of(PromptRoundTripTest.class.getResource("/peft_prompts").toURI());
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  private static CodePrior prior() {
    return new CodePrior(
        Weights.init(Rng.seed(21)).initialised((name, init) -> wide(init)),
        new CodePriorConfig(9, 2, 3, 2, 24, 2, 3, "learned", 0));
  }

  private static CLIPTextModel clip() {
    return new CLIPTextModel(
        Weights.init(Rng.seed(22)).initialised((name, init) -> wide(init)),
        new CLIPTextConfig(
            false, 60, 24, 32, 16, 2, 3, 12, "quick_gelu", 1e-5, 0, 0.02, 1, 1, 57, 58));
  }

  /** Values far from those of a fresh model, so that attention is not nearly uniform. */
  private static Init wide(Init init) {
    return (spec, rng) -> init.create(spec, rng).add(rng.fork("wide").normal(spec).mul(0.2));
  }

  private static Tensor codes() {
    return Tensor.of(new long[] {3, 0, 8, 8, 1, 5, 2, 2, 7, 4, 0, 6}, 2, 6);
  }

  private static Tensor labels() {
    return Tensor.of(new long[] {1, 2}, 2);
  }

  private static Tensor ids() {
    return Tensor.of(new long[] {57, 4, 9, 58, 0, 0, 57, 30, 58, 0, 0, 0}, 2, 6);
  }

  private static PrefixTuning.Options options(String name) {
    return name.equals("prefix") ? PrefixTuning.tokens(4) : PrefixTuning.tokens(2).projection(7);
  }

  private static void train(PromptLearning virtual, Supplier<Tensor> output) {
    try (Scope scope = Scope.open();
        AdamW optimizer =
            new AdamW(virtual.parameters(), AdamW.options().learningRate(0.1).weightDecay(0))) {
      Tensor target = Rng.seed(23).normal(output.get().spec());
      double first = 0;
      double last = 0;
      for (int i = 0; i < 5; i++) {
        var result =
            Autograd.valueAndGrad(
                virtual.parameters(), () -> Num.mean(Num.square(output.get().sub(target))));
        assertEquals(virtual.parameters().size(), result.gradients().asMap().size());
        last = result.value().item();
        first = i == 0 ? last : first;
        optimizer.step(result.gradients());
      }
      assertTrue(last < first, first + " to " + last);
    }
  }

  private static PrefixTuning trained(CodePrior prior, String name) {
    PrefixTuning prefix = PrefixTuning.attach(prior, Targets.all(), options(name), Rng.seed(24));
    train(prefix, () -> prior.call(codes(), labels()));
    return prefix;
  }

  private static PromptTuning trained(CLIPTextModel clip) {
    PromptTuning prompt = PromptTuning.attach(clip, 3, Rng.seed(25));
    train(prompt, () -> clip.call(ids()));
    return prompt;
  }

  /**
   * Writes models, inputs and folders for PEFT.
   *
   * @param args where to: a folder with a folder clip
   */
  public static void main(String[] args) {
    Path out = Path.of(args[0]);
    try (CodePrior prior = prior();
        CLIPTextModel clip = clip();
        Scope scope = Scope.open()) {
      SafeTensors.save(out.resolve("prior.safetensors"), prior.stateDict());
      clip.save(out.resolve("clip"));
      SafeTensors.save(
          out.resolve("inputs.safetensors"),
          Map.of("codes", codes(), "labels", labels(), "ids", ids()));
      for (String name : new String[] {"prefix", "prefix_projected"}) {
        try (PrefixTuning prefix = trained(prior, name)) {
          prefix.save("CAUSAL_LM", out.resolve(name));
        }
      }
      try (PromptTuning prompt = trained(clip)) {
        prompt.save("FEATURE_EXTRACTION", out.resolve("prompt"));
      }
    }
  }

  @Test
  void prefixes() {
    for (String name : new String[] {"prefix", "prefix_projected"}) {
      try (CodePrior prior = prior();
          Scope scope = Scope.open()) {
        float[] plain = prior.call(codes(), labels()).toFloatArray();
        Tensor expected = read(name);
        try (PrefixTuning prefix = trained(prior, name)) {
          Golden.assertClose(name, expected, prior.call(codes(), labels()), 1e-4);
          float[] off = prefix.without(() -> prior.call(codes(), labels())).toFloatArray();
          assertArrayEquals(plain, off);
          prefix.save("CAUSAL_LM", temporary.resolve(name));
          sameFiles(name);
        }
        try (PrefixTuning read =
            PrefixTuning.open(prior, Targets.all(), resources().resolve(name))) {
          Golden.assertClose(name, expected, prior.call(codes(), labels()), 1e-5);
          assertEquals(2, read.layers().size());
        }
        assertArrayEquals(plain, prior.call(codes(), labels()).toFloatArray());
      }
    }
  }

  /** The codes drawn one by one, with caches, are the likeliest of the logits of whole maps. */
  @Test
  void samplingSeesThePrefix() {
    try (CodePrior prior = prior();
        PrefixTuning prefix =
            PrefixTuning.attach(prior, Targets.all(), PrefixTuning.tokens(4), Rng.seed(26));
        Scope scope = Scope.open()) {
      Tensor rows = prefix.parameters().getFirst().value();
      Updates.copy(rows, rows.mul(5)); // strong enough to change which code is the likeliest
      var greedy = new CodeSampler.Options(1, 0, 0, 1);
      Tensor drawn = CodeSampler.sample(prior, labels(), greedy, Rng.seed(1), n -> {});
      Tensor likeliest = Num.argmax(prior.call(drawn, labels()), 2, false);
      assertArrayEquals(drawn.toLongArray(), likeliest.toLongArray());
      Tensor plain =
          prefix.without(() -> CodeSampler.sample(prior, labels(), greedy, Rng.seed(1), n -> {}));
      assertFalse(Arrays.equals(drawn.toLongArray(), plain.toLongArray()));
    }
  }

  /** A folder that PEFT wrote, of a prefix with a projection. */
  @Test
  void prefixesOfPeftAreRead() {
    try (CodePrior prior = prior();
        PrefixTuning read =
            PrefixTuning.open(prior, Targets.all(), resources().resolve("by_peft"));
        Scope scope = Scope.open()) {
      assertEquals(1, read.parameters().size());
      Golden.assertClose("y", read("by_peft"), prior.call(codes(), labels()), 1e-5);
    }
  }

  @Test
  void prompts() {
    try (CLIPTextModel clip = clip();
        Scope scope = Scope.open()) {
      float[] plain = clip.call(ids()).toFloatArray();
      Tensor expected = read("prompt");
      try (PromptTuning prompt = trained(clip)) {
        Golden.assertClose("prompt", expected, clip.call(ids()), 1e-4);
        assertArrayEquals(plain, prompt.without(() -> clip.call(ids())).toFloatArray());
        prompt.save("FEATURE_EXTRACTION", temporary.resolve("prompt"));
        sameFiles("prompt");
        CLIPTextModel.Output out = clip.encode(ids());
        assertArrayEquals( // at the end of the text, behind the prompt
            out.lastHiddenState().select(0, 1).select(0, 3 + 2).toFloatArray(),
            out.pooled().select(0, 1).toFloatArray());
        Tensor tooLong = Tensor.zeros(ids().spec().with(Shape.of(1, 10)));
        RuntimeException e = assertThrows(RuntimeException.class, () -> clip.call(tooLong));
        assertTrue(e.getMessage().contains("3 of the prompt"), e.getMessage());
      }
      try (PromptTuning read = PromptTuning.open(clip, resources().resolve("prompt"))) {
        Golden.assertClose("prompt", expected, clip.call(ids()), 1e-5);
        assertThrows(IllegalStateException.class, () -> PromptTuning.attach(clip, 1, Rng.seed(1)));
        assertTrue(read.isOn());
        Golden.assertClose("still there", expected, clip.call(ids()), 1e-5);
      }
      assertArrayEquals(plain, clip.call(ids()).toFloatArray());
      assertThrows(
          IllegalArgumentException.class, () -> PromptTuning.attach(clip, 12, Rng.seed(1)));
    }
  }

  @Test
  void hostileFoldersLeaveTheModelAlone() throws IOException {
    try (CodePrior prior = prior();
        CLIPTextModel clip = clip();
        Scope scope = Scope.open()) {
      float[] plain = prior.call(codes(), labels()).toFloatArray();
      Path folder = Files.createDirectories(temporary.resolve("hostile"));
      String json = Files.readString(resources().resolve("prefix/adapter_config.json"));
      Path weights = folder.resolve("adapter_model.safetensors");
      Files.copy(resources().resolve("prefix/adapter_model.safetensors"), weights);
      assertError(prior, folder, json.replace("\"num_layers\": 2", "\"num_layers\": 3"), "num_l");
      assertError(prior, folder, json.replace("\"token_dim\": 24", "\"token_dim\": 8"), "token_d");
      assertError(prior, folder, json.replace("PREFIX_TUNING", "PROMPT_TUNING"), "of kind PROMPT");
      assertError(prior, folder, json.replace("{", "{\"magic\": 1,"), "magic = 1");
      assertError(
          prior, folder, json.replace("submodules\": 1", "submodules\": 2"), "encoder beside");
      Files.writeString(
          folder.resolve("adapter_config.json"), json.replace("tokens\": 4", "tokens\": 5"));
      WeightsException shape =
          assertThrows(
              WeightsException.class, () -> PrefixTuning.open(prior, Targets.all(), folder));
      assertTrue(shape.getMessage().contains("prompt_embeddings"), shape.getMessage());
      SafeTensors.save(
          weights, Map.of("prompt_embeddings", Tensor.ones(4, 96), "more", Tensor.ones(1)));
      Files.writeString(folder.resolve("adapter_config.json"), json);
      WeightsException more =
          assertThrows(
              WeightsException.class, () -> PrefixTuning.open(prior, Targets.all(), folder));
      assertTrue(more.getMessage().contains("more"), more.getMessage());
      SafeTensors.save(weights, Map.of("prompt_embeddings", Tensor.ones(4, 96).mul(Double.NaN)));
      assertError(prior, folder, json, "not finite");
      SafeTensors.save(weights, Map.of("prompt_embeddings", Tensor.of(new long[4 * 96], 4, 96)));
      assertError(prior, folder, json, "i64");
      assertThrows(
          IllegalArgumentException.class,
          () -> PrefixTuning.open(prior, Targets.glob("nothing"), folder));
      assertThrows(IllegalArgumentException.class, () -> PromptTuning.open(clip, folder));
      assertArrayEquals(plain, prior.call(codes(), labels()).toFloatArray());
      PrefixTuning.attach(prior, Targets.all(), PrefixTuning.tokens(1), Rng.seed(1)).close();
    }
  }

  private static void assertError(CodePrior prior, Path folder, String json, String part)
      throws IOException {
    Files.writeString(folder.resolve("adapter_config.json"), json);
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class, () -> PrefixTuning.open(prior, Targets.all(), folder));
    assertTrue(e.getMessage().contains(part), e.getMessage());
  }

  private static Tensor read(String name) {
    try (SafeTensors peft = SafeTensors.open(resources().resolve(name + "/peft.safetensors"))) {
      return peft.read("y");
    }
  }

  private void sameFiles(String name) {
    Path recorded = resources().resolve(name);
    try (SafeTensors ours =
            SafeTensors.open(temporary.resolve(name + "/adapter_model.safetensors"));
        SafeTensors theirs = SafeTensors.open(recorded.resolve("peft_model.safetensors"))) {
      assertEquals(theirs.entries().keySet(), ours.entries().keySet());
      theirs
          .entries()
          .forEach((key, entry) -> assertEquals(entry.dims(), ours.entries().get(key).dims(), key));
    }
    JsonNode config = ModelConfig.read(temporary.resolve(name + "/adapter_config.json"));
    assertEquals(ModelConfig.read(recorded.resolve("adapter_config.json")), config);
    JsonNode theirs = ModelConfig.read(recorded.resolve("peft_config.json"));
    config
        .properties()
        .forEach(e -> assertEquals(theirs.get(e.getKey()), e.getValue(), e.getKey()));
  }
}
