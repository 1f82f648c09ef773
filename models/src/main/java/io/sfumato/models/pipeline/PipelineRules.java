// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.pipeline;

import io.sfumato.models.vae.AutoencoderKL;
import io.sfumato.models.vae.AutoencoderKLConfig;
import io.sfumato.tensor.Tensor;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What must hold among a pipeline's parts, and between a pipeline and what it is asked for. */
final class PipelineRules {
  private static final int MOST_STEPS = 10_000;

  private PipelineRules() {}

  /** Height and width of the pictures. */
  record Size(int height, int width) {}

  /** What does not fit among the parts. */
  static List<String> parts(
      @Nullable AutoencoderKLConfig vae, Backbone backbone, Conditioner conditioner) {
    List<String> wrong = new ArrayList<>();
    if (vae != null && vae.latentChannels() != backbone.inChannels()) {
      wrong.add(
          backbone.role()
              + " takes "
              + backbone.inChannels()
              + " channels, but the latents of vae have "
              + vae.latentChannels());
    }
    Integer context = backbone.contextWidth();
    Integer given =
        switch (conditioner) {
          case Conditioner.Words w -> Integer.valueOf(w.words().config().width());
          case Conditioner.Clip c -> Integer.valueOf(c.model().config().hiddenSize());
          default -> null;
        };
    if (context != null && given == null) {
      wrong.add(backbone.role() + " needs a text encoder of width " + context + "; there is none");
    } else if (context == null && given != null) {
      wrong.add(backbone.role() + " takes no text, but there is a text encoder");
    } else if (context != null && !context.equals(given)) {
      wrong.add(
          backbone.role()
              + " looks at states of width "
              + context
              + ", but those of the text encoder have "
              + given);
    }
    if (conditioner instanceof Conditioner.Clip c
        && c.tokenizer().vocabularySize() > c.model().config().vocabSize()) {
      wrong.add(
          "tokenizer has "
              + c.tokenizer().vocabularySize()
              + " tokens, but text_encoder takes "
              + c.model().config().vocabSize());
    }
    return wrong;
  }

  /**
   * The size of the pictures.
   *
   * @throws IllegalArgumentException listing everything wrong with the request
   */
  static Size request(LatentDiffusion pipeline, GenerationRequest r) {
    List<String> wrong = new ArrayList<>();
    if (r.prompts().isEmpty()) {
      wrong.add("there must be at least one prompt; an empty text is one");
    }
    new LinkedHashSet<>(r.prompts()).forEach(p -> wrong.addAll(pipeline.conditioner().problems(p)));
    if (!r.negative().isEmpty()) {
      wrong.addAll(pipeline.conditioner().problems(r.negative()));
      if (r.guidance() == 1) {
        wrong.add("a negative prompt does nothing without guidance; guidance is 1");
      }
    }
    if (r.guidance() != 1 && pipeline.conditioner() instanceof Conditioner.None) {
      wrong.add("guidance needs a condition, which this pipeline does not have");
    }
    if (r.guidance() != 1
        && r.negative().isEmpty()
        && pipeline.conditioner() instanceof Conditioner.Classes c
        && c.noClass() == null) {
      wrong.add("guidance needs a class that stands for \"no class\", which this model lacks");
    }
    if (!(r.guidance() >= 0) || Double.isInfinite(r.guidance())) {
      wrong.add("guidance must be 0 or more; got " + r.guidance());
    }
    if (!(r.rescale() >= 0 && r.rescale() <= 1)) {
      wrong.add("rescale must be 0 to 1; got " + r.rescale());
    }
    if (r.steps() < 1 || r.steps() > MOST_STEPS) {
      wrong.add("steps must be 1 to " + MOST_STEPS + "; got " + r.steps());
    }
    if (!(r.strength() > 0 && r.strength() <= 1)) {
      wrong.add("strength must be above 0, and 1 at most; got " + r.strength());
    }
    if (r.image() == null && r.strength() != 1) {
      wrong.add("strength " + r.strength() + " needs an image");
    }
    if (r.image() == null && r.mask() != null) {
      wrong.add("a mask needs an image");
    }
    Tensor image = r.image();
    Tensor mask = r.mask();
    int side = side(pipeline);
    int height = image != null && image.rank() == 4 ? image.dim(2) : side;
    int width = image != null && image.rank() == 4 ? image.dim(3) : side;
    if (r.height() != null) {
      same("height", r.height(), image == null ? r.height() : height, wrong);
      height = r.height();
    }
    if (r.width() != null) {
      same("width", r.width(), image == null ? r.width() : width, wrong);
      width = r.width();
    }
    int unit = pipeline.factor() * pipeline.backbone().unit();
    divisible("height", height, unit, pipeline, wrong);
    divisible("width", width, unit, pipeline, wrong);
    int count = r.prompts().size();
    if (image != null) {
      shape("image", image, count, channels(pipeline), height, width, wrong);
    }
    if (mask != null) {
      shape("mask", mask, count, 1, height, width, wrong);
    }
    if (!wrong.isEmpty()) {
      throw new IllegalArgumentException("cannot draw: " + String.join("; ", wrong));
    }
    return new Size(height, width);
  }

  private static int channels(LatentDiffusion pipeline) {
    AutoencoderKL vae = pipeline.vae();
    return vae == null ? pipeline.backbone().inChannels() : vae.config().inChannels();
  }

  /** What the pipeline was made for. */
  private static int side(LatentDiffusion pipeline) {
    Integer side = pipeline.backbone().sampleSide();
    if (side != null) {
      return side * pipeline.factor();
    }
    AutoencoderKL vae = pipeline.vae();
    return vae == null ? 0 : vae.config().sampleSize();
  }

  private static void same(String what, int asked, int ofImage, List<String> wrong) {
    if (asked != ofImage) {
      wrong.add(what + " " + asked + " is not that of the image, " + ofImage);
    }
  }

  private static void divisible(
      String what, int value, int unit, LatentDiffusion pipeline, List<String> wrong) {
    if (value < 1) {
      wrong.add(what + " must be given: the pipeline's files do not say one");
    } else if (value % unit != 0) {
      wrong.add(
          what
              + " must be divisible by "
              + unit
              + " ("
              + pipeline.factor()
              + " of the autoencoder times "
              + pipeline.backbone().unit()
              + " of "
              + pipeline.backbone().role()
              + "); got "
              + value);
    }
  }

  private static void shape(
      String what, Tensor x, int count, int channels, int height, int width, List<String> wrong) {
    boolean fits =
        x.rank() == 4
            && (x.dim(0) == 1 || x.dim(0) == count)
            && x.dim(1) == channels
            && x.dim(2) == height
            && x.dim(3) == width;
    if (!fits) {
      wrong.add(
          what
              + " must be [1 or "
              + count
              + ", "
              + channels
              + ", "
              + height
              + ", "
              + width
              + "]; got "
              + x.spec());
    }
  }
}
