// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.pipeline;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.models.adapter.AdapterSet;
import io.sfumato.models.adapter.Lora;
import io.sfumato.models.adapter.Targets;
import io.sfumato.models.adapter.TextualInversion;
import io.sfumato.models.diffusion.Denoiser;
import io.sfumato.models.diffusion.NoiseSchedule;
import io.sfumato.models.text.CLIPTextConfig;
import io.sfumato.models.text.CLIPTextModel;
import io.sfumato.models.text.CLIPTokenizer;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.TensorFileException;
import io.sfumato.tensor.ops.Shaping;
import io.sfumato.tensor.ops.Updates;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A new word of the text encoder: trained with a pipeline's loss, written, read. */
class TextualInversionTest {
  private static final String TABLE = "text_model.embeddings.token_embedding";
  private static final List<String> PROMPT = List.of("a <my-toy> on a red background");

  @TempDir Path folder;

  private final CLIPTokenizer tokenizer = TinyPipelines.tokenizer();

  private static CLIPTextModel encoder() {
    return new CLIPTextModel(TinyPipelines.weights(4), TinyPipelines.textConfig());
  }

  private TextualInversion create(CLIPTextModel encoder, int count, String like) {
    return TextualInversion.create(tokenizer, encoder, "<my-toy>", count, like, Rng.seed(6));
  }

  /** The vectors learn, the loss falls, and nothing else in the pipeline changes by a bit. */
  @Test
  void aWordIsTrainedWithThePipelinesLoss() {
    try (LatentDiffusion pipeline = TinyPipelines.clip();
        Scope scope = Scope.open()) {
      CLIPTextModel encoder = ((Conditioner.Clip) pipeline.conditioner()).model();
      heedPrompts(pipeline);
      Map<String, float[]> before = values(pipeline, encoder);
      Path file = folder.resolve("learned_embeds.safetensors");
      float[] states;
      try (TextualInversion toy = create(encoder, 2, "star");
          AdamW optimizer =
              new AdamW(toy.parameters(), AdamW.options().learningRate(0.1).weightDecay(0))) {
        assertEquals(2 * TinyPipelines.TEXT, toy.adapter().parameterCount());
        Conditioner conditioner = new Conditioner.Clip(toy.tokenizer(), encoder);
        Denoiser denoiser =
            new Denoiser(
                (x, t, labels) ->
                    pipeline
                        .backbone()
                        .network()
                        .call(x, t, conditioner.condition(List.of(PROMPT.get(0), "<my-toy>"))),
                new NoiseSchedule(TinyPipelines.scheduler()));
        Tensor latents = Rng.seed(8).normal(2, 4, 8, 8);
        double first = 0;
        double last = 0;
        for (int step = 0; step < 25; step++) {
          try (Scope inner = Scope.open()) {
            var result =
                Autograd.valueAndGrad(
                    toy.parameters(), () -> denoiser.loss(latents, null, Rng.seed(9)));
            last = result.value().item();
            first = step == 0 ? last : first;
            optimizer.step(result.gradients());
          }
        }
        assertTrue(last < 0.98 * first, first + " to " + last);
        states = encoder.call(toy.tokenizer().encode(PROMPT)).toFloatArray();
        toy.save(file);
      }
      values(pipeline, encoder)
          .forEach((name, now) -> assertArrayEquals(before.get(name), now, name));
      try (SafeTensors saved = SafeTensors.open(file)) {
        assertEquals(Set.of("<my-toy>"), saved.entries().keySet());
        assertArrayEquals(new int[] {2, TinyPipelines.TEXT}, saved.read("<my-toy>").shape().dims());
      }
      try (TextualInversion toy = TextualInversion.open(tokenizer, encoder, file, null)) {
        assertEquals("<my-toy>", toy.word());
        assertArrayEquals(states, encoder.call(toy.tokenizer().encode(PROMPT)).toFloatArray());
      }
    }
  }

  /** A fresh U-Net hardly looks at its prompt; this one does. */
  private static void heedPrompts(LatentDiffusion pipeline) {
    for (Parameter p : pipeline.backbone().module().parameters()) {
      if (p.name().matches(".*attn2.to_(v|out.0).weight|conv_out.weight")) {
        Updates.copy(p.value(), p.value().mul(4));
      }
    }
  }

  private static Map<String, float[]> values(LatentDiffusion pipeline, CLIPTextModel encoder) {
    Map<String, float[]> values = new LinkedHashMap<>();
    encoder.stateDict().forEach((name, value) -> values.put(name, value.toFloatArray()));
    pipeline
        .backbone()
        .module()
        .stateDict()
        .forEach((name, value) -> values.put("unet." + name, value.toFloatArray()));
    return values;
  }

  /** The states are those of a table that has the vectors as further rows. */
  @Test
  void theWordStandsForFurtherRowsOfTheTable() {
    CLIPTextConfig c = TinyPipelines.textConfig();
    CLIPTextConfig wider =
        new CLIPTextConfig(
            false,
            c.vocabSize() + 3,
            TinyPipelines.TEXT,
            32,
            16,
            2,
            3,
            77,
            "quick_gelu",
            1e-5,
            0,
            0.02,
            1,
            1,
            0,
            2);
    try (CLIPTextModel encoder = encoder();
        CLIPTextModel large = new CLIPTextModel(TinyPipelines.weights(4), wider);
        TextualInversion toy = create(encoder, 3, "");
        Scope scope = Scope.open()) {
      Tensor rows = toy.parameters().getFirst().value();
      large
          .parameters()
          .forEach(
              p -> {
                Tensor own = encoder.stateDict().get(p.name());
                assertTrue(own != null);
                boolean table = p.name().startsWith(TABLE);
                Updates.copy(p.value(), table ? Shaping.concat(0, own, rows) : own);
              });
      Tensor ids = toy.tokenizer().encode(List.of(PROMPT.get(0), "<my-toy>_2 a star"));
      assertArrayEquals(large.call(ids).toFloatArray(), encoder.call(ids).toFloatArray());
      // Pooled at the end of the text, not at the new token, whose number is the largest.
      Tensor plain = tokenizer.encode(List.of("a star"));
      int end = 3;
      assertArrayEquals(
          encoder.encode(plain).lastHiddenState().select(0, 0).select(0, end).toFloatArray(),
          encoder.encode(plain).pooled().toFloatArray());
      Tensor withWord = toy.tokenizer().encode(List.of("<my-toy>_1 star"));
      assertArrayEquals(
          encoder.encode(withWord).lastHiddenState().select(0, 0).select(0, end).toFloatArray(),
          encoder.encode(withWord).pooled().toFloatArray());
      toy.adapter().setOn(false);
      assertThrows(RuntimeException.class, () -> encoder.call(ids));
      assertEquals(2, plain.rank());
    }
  }

  @Test
  void severalWordsAndLoraAct() {
    try (CLIPTextModel encoder = encoder();
        AdapterSet lora =
            AdapterSet.attach(
                encoder, Targets.glob("**.q_proj", TABLE), Lora.rank(2), Rng.seed(3));
        TextualInversion toy = create(encoder, 2, "red star");
        TextualInversion style =
            TextualInversion.create(toy.tokenizer(), encoder, "newstyle", 1, "blue", Rng.seed(7));
        Scope scope = Scope.open()) {
      assertEquals(List.of(tokenizer.vocabularySize() + 2), style.tokenizer().tokens("newstyle"));
      // As they start, words are what they are like.
      assertArrayEquals(
          encoder.call(tokenizer.encode(List.of("red star in blue"))).toFloatArray(),
          encoder.call(style.tokenizer().encode(List.of("<my-toy> in NewStyle"))).toFloatArray());
      assertEquals(3, lora.parts().size());
    }
  }

  @Test
  void otherFilesAreRead() {
    int d = TinyPipelines.TEXT;
    try (CLIPTextModel encoder = encoder();
        Scope scope = Scope.open()) {
      Tensor one = Rng.seed(1).normal(d);
      Tensor two = Rng.seed(2).normal(2, d);
      Tensor wide = Rng.seed(3).normal(2, d + 8);
      assertRead(encoder, Map.of("<x>", one), null, one, 1);
      assertRead(encoder, Map.of("<x>", two), "<y>", two, 2);
      assertRead(encoder, Map.of("emb_params", two), "<y>", two, 2);
      assertRead(encoder, Map.of("clip_g", wide, "clip_l", two), "<y>", two, 2);
      assertRead(encoder, Map.of("clip_g", two, "clip_l", wide), "<y>", two, 2);
    }
  }

  private void assertRead(
      CLIPTextModel encoder,
      Map<String, Tensor> tensors,
      @Nullable String word,
      Tensor expected,
      int count) {
    try (TextualInversion read = TextualInversion.open(tokenizer, encoder, write(tensors), word)) {
      assertEquals(word == null ? "<x>" : word, read.word());
      assertEquals(count, read.tokenizer().tokens(read.word()).size());
      assertArrayEquals(
          expected.toFloatArray(), read.parameters().getFirst().value().toFloatArray());
    }
  }

  private Path write(Map<String, Tensor> tensors) {
    Path file = folder.resolve("word.safetensors");
    SafeTensors.save(file, tensors);
    return file;
  }

  @Test
  void hostileFilesLeaveTheEncoderAlone() throws IOException {
    int d = TinyPipelines.TEXT;
    try (CLIPTextModel encoder = encoder();
        Scope scope = Scope.open()) {
      Tensor two = Rng.seed(2).normal(2, d);
      Tensor wide = Rng.seed(3).normal(2, d + 8);
      assertError(encoder, write(Map.of("<x>", wide)), null, "[n, 24]");
      assertError(encoder, write(Map.of("<x>", two, "<y>", two)), null, "one word");
      assertError(encoder, write(Map.of("<x>", two.reshape(2, 1, d))), null, "[n, 24]");
      assertError(encoder, write(Map.of("clip_l", two, "clip_g", two)), "<y>", "one has that");
      assertError(encoder, write(Map.of("emb_params", two)), null, "holds no word");
      assertError(encoder, write(Map.of("red</w>", two)), null, "exists already");
      assertError(encoder, write(Map.of("<x>", two.mul(Double.NaN))), null, "not finite");
      assertError(encoder, write(Map.of("<x>", Tensor.of(new long[d], 1, d))), null, "i64");
      assertError(encoder, folder.resolve("style.pt"), "<x>", "safetensors.torch.save_file");
      Path garbage = Files.write(folder.resolve("garbage.safetensors"), new byte[] {1, 2});
      assertThrows(
          TensorFileException.class,
          () -> TextualInversion.open(tokenizer, encoder, garbage, "<x>"));
      IllegalArgumentException like =
          assertThrows(IllegalArgumentException.class, () -> create(encoder, 1, "red star"));
      assertTrue(like.getMessage().contains("2 tokens"), like.getMessage());
      assertTrue(encoder.tokenEmbedding().adapters().isEmpty());
    }
  }

  private void assertError(CLIPTextModel encoder, Path file, @Nullable String word, String part) {
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class,
            () -> TextualInversion.open(tokenizer, encoder, file, word));
    assertTrue(e.getMessage().contains(part), e.getMessage());
  }

  @Test
  void bothEncodersOfSdxlInOneFile() {
    try (CLIPTextModel l = encoder();
        CLIPTextModel g = encoder();
        TextualInversion ofL = create(l, 2, "star");
        TextualInversion ofG = create(g, 2, "red");
        TextualInversion shorter =
            TextualInversion.create(tokenizer, l, "<z>", 1, "", Rng.seed(1));
        Scope scope = Scope.open()) {
      Path file = folder.resolve("sdxl.safetensors");
      TextualInversion.saveSdxl(ofL, ofG, file);
      try (SafeTensors saved = SafeTensors.open(file)) {
        assertEquals(Set.of("clip_l", "clip_g"), saved.entries().keySet());
        assertArrayEquals(
            ofG.parameters().getFirst().value().toFloatArray(),
            saved.read("clip_g").toFloatArray());
      }
      assertThrows(
          IllegalArgumentException.class, () -> TextualInversion.saveSdxl(ofL, shorter, file));
    }
  }
}
