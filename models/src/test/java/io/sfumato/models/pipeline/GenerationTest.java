// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.pipeline;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.diffusion.Listener;
import io.sfumato.models.diffusion.Network;
import io.sfumato.models.diffusion.NoiseSchedule;
import io.sfumato.models.text.WordEncoder;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What a pipeline draws, and which requests it refuses. */
class GenerationTest {
  /**
   * A pipeline whose network knows the answer: its ε leads to x₀ = the mean of the condition's
   * first state, everywhere.
   */
  private static LatentDiffusion oracle() {
    LatentDiffusion plain = TinyPipelines.words();
    NoiseSchedule schedule = new NoiseSchedule(plain.scheduler());
    Network network =
        (x, t, states) -> {
          double bar = schedule.alphaBar((int) t[0]);
          Tensor x0 = states.slice(1, 0, 1).mean(1, 2).reshape(x.dim(0), 1, 1, 1);
          return x.sub(x0.mul(Math.sqrt(bar))).div(Math.sqrt(1 - bar));
        };
    Backbone b = plain.backbone();
    Backbone known =
        new Backbone(
            b.module(),
            network,
            b.role(),
            b.className(),
            b.inChannels(),
            b.unit(),
            b.sampleSide(),
            b.classes(),
            b.contextWidth(),
            b.save());
    return new LatentDiffusion(plain.vae(), known, plain.conditioner(), plain.scheduler());
  }

  private static double answer(LatentDiffusion pipeline, String prompt) {
    WordEncoder words = ((Conditioner.Words) pipeline.conditioner()).words();
    return words.call(words.encode(List.of(prompt))).slice(1, 0, 1).mean(1, 2).item();
  }

  private static float[] decoded(LatentDiffusion pipeline, double x0) {
    return pipeline.decode(Tensor.full(x0, 1, 4, 8, 8)).toFloatArray();
  }

  @Test
  void drawsWhatTheNetworkSaysOfThePrompt() {
    try (Scope scope = Scope.open();
        LatentDiffusion pipeline = oracle()) {
      double red = answer(pipeline, "red star");
      double none = answer(pipeline, "");
      double blue = answer(pipeline, "blue");
      var plain = GenerationRequest.of("red star").steps(4);
      assertArrayEquals(decoded(pipeline, red), pipeline.generate(plain).toFloatArray(), 1e-4f);
      assertArrayEquals(
          decoded(pipeline, none + 3 * (red - none)),
          pipeline.generate(plain.guidance(3)).toFloatArray(),
          1e-4f);
      assertArrayEquals(
          decoded(pipeline, blue + 3 * (red - blue)),
          pipeline.generate(plain.guidance(3).negative("blue")).toFloatArray(),
          1e-4f);
      // the other halves of a batch do not touch each other
      Tensor both = pipeline.generate(GenerationRequest.of(List.of("red star", "blue")).steps(4));
      assertArrayEquals(
          decoded(pipeline, blue), both.slice(0, 1, 2).contiguous().toFloatArray(), 1e-4f);
    }
  }

  @Test
  void theSeedAloneDecides() {
    try (Scope scope = Scope.open();
        LatentDiffusion pipeline = TinyPipelines.words()) {
      var request = GenerationRequest.of("red").steps(2);
      float[] first = pipeline.generate(request).toFloatArray();
      assertArrayEquals(first, pipeline.generate(request).toFloatArray());
      assertFalse(
          Arrays.equals(first, pipeline.generate(request.seed(1)).toFloatArray()), "other seed");
      assertFalse(
          Arrays.equals(first, pipeline.generate(request.guidance(4)).toFloatArray()), "guidance");
      assertFalse(
          Arrays.equals(
              pipeline.generate(request.guidance(4, 0.7)).toFloatArray(),
              pipeline.generate(request.guidance(4)).toFloatArray()),
          "rescale");
      int[] calls = {0};
      pipeline.generate(request.listener(Listener.watching(p -> calls[0]++)));
      assertEquals(2, calls[0]);
      assertArrayEquals(
          new int[] {1, 3, 24, 32}, pipeline.generate(request.size(24, 32)).shape().dims());
    }
  }

  @Test
  void anImageIsDrawnAgainNearToWhatItWas() {
    try (Scope scope = Scope.open();
        LatentDiffusion pipeline = TinyPipelines.words()) {
      Tensor image = Rng.seed(7).uniform(1, 3, 16, 16).mul(2).sub(1);
      float[] again =
          pipeline.decode(pipeline.encode(image, Rng.seed(0).fork("image"))).toFloatArray();
      var request = GenerationRequest.of("red").steps(20);
      double near = distance(again, pipeline.generate(request.image(image, 0.05)));
      double far = distance(again, pipeline.generate(request.image(image, 0.9)));
      assertTrue(near < 0.5 * far, near + " and " + far);
      assertArrayEquals(
          pipeline.generate(request).toFloatArray(),
          pipeline.generate(request.image(image, 1)).toFloatArray());
    }
  }

  private static double distance(float[] a, Tensor b) {
    float[] values = b.toFloatArray();
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += Math.pow(a[i] - values[i], 2);
    }
    return sum;
  }

  @Test
  void outsideTheMaskTheImageStaysBitForBit() {
    try (Scope scope = Scope.open();
        LatentDiffusion pipeline = TinyPipelines.words()) {
      Tensor image = Rng.seed(7).uniform(1, 3, 16, 16).mul(2).sub(1);
      float[] where = new float[256];
      for (int p = 0; p < 256; p++) {
        where[p] = p % 16 >= 5 && p % 16 < 12 ? 1 : 0; // not at the borders of cells
      }
      Tensor mask = Tensor.of(where, 1, 1, 16, 16);
      Tensor drawn =
          pipeline.generate(
              GenerationRequest.of("red").each(2).steps(3).image(image, 1).mask(mask));
      float[] before = image.toFloatArray();
      float[] after = drawn.toFloatArray();
      int changed = 0;
      for (int i = 0; i < after.length; i++) {
        boolean same = before[i % before.length] == after[i];
        changed += same ? 0 : 1;
        assertTrue(same || where[i % 256] == 1, "value " + i);
      }
      assertTrue(changed > 0.9 * 2 * 3 * 7 * 16, "changed: " + changed);
    }
  }

  /** Inpainting is guided by what is known: an oracle would ignore it, so latents are looked at. */
  @Test
  void allOfAMaskIsLikeNoImageAtAll() {
    try (Scope scope = Scope.open();
        LatentDiffusion pipeline = TinyPipelines.words()) {
      Tensor image = Rng.seed(7).uniform(1, 3, 16, 16).mul(2).sub(1);
      var request = GenerationRequest.of("red").steps(3);
      assertArrayEquals(
          pipeline.generate(request).toFloatArray(),
          pipeline
              .generate(request.image(image, 1).mask(Tensor.ones(1, 1, 16, 16)))
              .toFloatArray());
      assertArrayEquals(
          image.toFloatArray(),
          pipeline
              .generate(request.image(image, 1).mask(Tensor.zeros(1, 1, 16, 16)))
              .toFloatArray());
    }
  }

  @Test
  void everythingWrongWithARequestIsListed() {
    try (Scope scope = Scope.open();
        LatentDiffusion pipeline = TinyPipelines.words()) {
      var request =
          GenerationRequest.of(List.of("green circle", "red red red star"))
              .size(18, 21)
              .steps(0)
              .guidance(-1, 2)
              .negative("cat")
              .image(Tensor.zeros(3, 3, 16, 16), 1.5)
              .mask(Tensor.zeros(1, 3, 16, 16));
      var e = assertThrows(IllegalArgumentException.class, () -> pipeline.generate(request));
      for (String part :
          List.of(
              "the word 'green' is not one of [blue, circle, red, star]",
              "at most 3 words",
              "the word 'cat'",
              "guidance must be 0 or more; got -1.0",
              "rescale must be 0 to 1; got 2.0",
              "steps must be 1 to 10000; got 0",
              "strength must be above 0, and 1 at most; got 1.5",
              "height 18 is not that of the image, 16",
              "height must be divisible by 4 (2 of the autoencoder times 2 of unet); got 18",
              "width must be divisible by 4 (2 of the autoencoder times 2 of unet); got 21",
              "image must be [1 or 2, 3, 18, 21]",
              "mask must be [1 or 2, 1, 18, 21]")) {
        assertTrue(e.getMessage().contains(part), part + " is not in: " + e.getMessage());
      }
      var lonely =
          assertThrows(
              IllegalArgumentException.class,
              () ->
                  pipeline.generate(
                      GenerationRequest.of("red")
                          .negative("blue")
                          .mask(Tensor.zeros(1, 1, 16, 16))));
      assertTrue(lonely.getMessage().contains("a mask needs an image"), lonely.getMessage());
      assertTrue(lonely.getMessage().contains("without guidance"), lonely.getMessage());
    }
  }

  @Test
  void classesAreGivenByNameOrNumber() {
    try (Scope scope = Scope.open();
        LatentDiffusion pipeline = TinyPipelines.transformer()) {
      float[] dog = pipeline.generate(GenerationRequest.of("dog").steps(2)).toFloatArray();
      assertArrayEquals(dog, pipeline.generate(GenerationRequest.of("1").steps(2)).toFloatArray());
      var e =
          assertThrows(
              IllegalArgumentException.class,
              () -> pipeline.generate(GenerationRequest.of("horse")));
      assertTrue(e.getMessage().contains("[cat, dog, cow]"), e.getMessage());
    }
  }
}
