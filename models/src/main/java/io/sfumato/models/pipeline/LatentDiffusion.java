// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.pipeline;

import io.sfumato.models.diffusion.Denoiser;
import io.sfumato.models.diffusion.Guidance;
import io.sfumato.models.diffusion.Inpainting;
import io.sfumato.models.diffusion.NoiseSchedule;
import io.sfumato.models.diffusion.NoiseSource;
import io.sfumato.models.diffusion.Sampler;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.diffusion.Steps;
import io.sfumato.models.nn.Module;
import io.sfumato.models.vae.AutoencoderKL;
import io.sfumato.models.vae.DiagonalGaussianDistribution;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A generator of pictures: a diffusion model on the latents of an autoencoder (Rombach et al.,
 * 2022), or on pixels if it has none, with a sampler and, perhaps, classes or a text encoder.
 *
 * {@snippet :
 * try (var scope = Scope.open(); var pipeline = LatentDiffusion.open(folder)) {
 *   Tensor pictures = pipeline.generate(GenerationRequest.of("red circle").each(4).guidance(3));
 * }
 * }
 */
public final class LatentDiffusion implements AutoCloseable {
  private final @Nullable AutoencoderKL vae;
  private final Backbone backbone;
  private final Conditioner conditioner;
  private final SchedulerConfig scheduler;
  private final PipelineFiles files;

  /**
   * A pipeline of parts, which are closed with it.
   *
   * @param vae gives latents and pictures; null if the network draws pixels
   * @param backbone the network
   * @param conditioner what it is conditioned on
   * @param scheduler noise schedule, parameterisation and sampler
   * @throws IllegalArgumentException listing all parts that do not fit together
   */
  public LatentDiffusion(
      @Nullable AutoencoderKL vae,
      Backbone backbone,
      Conditioner conditioner,
      SchedulerConfig scheduler) {
    this(vae, backbone, conditioner, scheduler, PipelineFiles.NONE);
  }

  LatentDiffusion(
      @Nullable AutoencoderKL vae,
      Backbone backbone,
      Conditioner conditioner,
      SchedulerConfig scheduler,
      PipelineFiles files) {
    this.vae = vae;
    this.backbone = backbone;
    this.conditioner = conditioner;
    this.scheduler = scheduler;
    this.files = files;
    List<String> wrong =
        PipelineRules.parts(vae == null ? null : vae.config(), backbone, conditioner);
    if (!wrong.isEmpty()) {
      throw new IllegalArgumentException("the parts do not fit: " + String.join("; ", wrong));
    }
  }

  /**
   * Reads a pipeline: a folder of diffusers with {@code model_index.json}, or a training run of
   * this library. All components are checked before memory is spent on one.
   *
   * @throws IllegalArgumentException listing everything wrong: unknown components, missing files,
   *     tensors that are missing, unused or of another shape, parts that do not fit together
   */
  public static LatentDiffusion open(Path folder) {
    return new PipelineReader(folder).read();
  }

  /**
   * Writes the pipeline as a folder that {@link #open} reads, and diffusers, where it knows the
   * parts. Configurations are written as they were read, byte for byte.
   */
  public void save(Path folder) {
    files.write(folder, this);
  }

  /** The same parts with another noise schedule or sampler. */
  public LatentDiffusion with(SchedulerConfig other) {
    return new LatentDiffusion(vae, backbone, conditioner, other, files.without("scheduler"));
  }

  /** The autoencoder, or null. */
  public @Nullable AutoencoderKL vae() {
    return vae;
  }

  /** The network. */
  public Backbone backbone() {
    return backbone;
  }

  /** What it is conditioned on. */
  public Conditioner conditioner() {
    return conditioner;
  }

  /** Noise schedule, parameterisation and sampler. */
  public SchedulerConfig scheduler() {
    return scheduler;
  }

  /** By how much the network's input is smaller than the picture, per side. */
  public int factor() {
    return vae == null ? 1 : vae.config().factor();
  }

  /** The names of the classes that it was trained on; empty if they are not known. */
  public List<String> classNames() {
    return conditioner instanceof Conditioner.Classes c ? c.names() : files.classNames();
  }

  private Device device() {
    return backbone.module().parameters().getFirst().value().device();
  }

  /**
   * The network's input for pictures: latents that are drawn and scaled, or the pictures
   * themselves.
   *
   * @param images [B, C, H, W] in [-1, 1]
   * @param rng of the draw
   */
  public Tensor encode(Tensor images, Rng rng) {
    AutoencoderKL first = vae;
    return first == null ? images : Scope.run(() -> first.scale(first.encode(images).sample(rng)));
  }

  /**
   * What the network sees of pictures whose distributions of latents are known already: {@link
   * #encode} gives the same.
   *
   * @param moments [B, 2 L, h, w], of {@link AutoencoderKL#moments}
   * @param rng the source of noise
   * @throws IllegalStateException if there is no autoencoder
   */
  public Tensor latents(Tensor moments, Rng rng) {
    AutoencoderKL first = requireAutoencoder();
    return Scope.run(() -> first.scale(new DiagonalGaussianDistribution(moments).sample(rng)));
  }

  /** The autoencoder, which must be there. */
  AutoencoderKL requireAutoencoder() {
    AutoencoderKL first = vae;
    if (first == null) {
      throw new IllegalStateException("this pipeline draws pixels: it has no autoencoder");
    }
    return first;
  }

  /** Pictures of what the network draws: [B, C, H, W], about [-1, 1]. */
  public Tensor decode(Tensor latents) {
    AutoencoderKL first = vae;
    return first == null ? latents : Scope.run(() -> first.decode(first.unscale(latents)));
  }

  /**
   * Draws pictures.
   *
   * @param request what shall be drawn
   * @return [B, C, H, W], about [-1, 1], in the current scope; where a mask is 0 exactly the image
   * @throws IllegalArgumentException listing everything wrong with the request
   */
  public Tensor generate(GenerationRequest request) {
    PipelineRules.Size size = PipelineRules.request(this, request);
    return Scope.run(() -> draw(request, size));
  }

  private Tensor draw(GenerationRequest r, PipelineRules.Size size) {
    int count = r.prompts().size();
    Rng rng = Rng.seed(r.seed());
    Tensor noise =
        rng.fork("start")
            .normal(count, backbone.inChannels(), size.height() / factor(), size.width() / factor())
            .to(device());
    Sampler sampler = Sampler.of(scheduler);
    Steps steps = Steps.of(r.steps());
    Tensor start;
    if (r.image() == null) {
      start = sampler.plan(steps).start(noise);
    } else {
      Tensor image = repeated(r.image(), count).to(device()); // [B, C, H, W]
      Tensor latents = encode(image, rng.fork("image"));
      steps = steps.strength(r.strength());
      start =
          r.strength() >= 1
              ? sampler.plan(steps).start(noise)
              : sampler.plan(steps).start(latents, noise);
      if (r.mask() != null) {
        sampler = new Inpainting(sampler, latents, latentMask(r.mask().to(device())), noise);
      }
    }
    NoiseSource source = NoiseSource.of(rng.fork("noise"));
    Tensor drawn =
        decode(sampler.sample(denoiser(r), start, steps, source, r.listener())); // [B, C, H, W]
    if (r.image() == null || r.mask() == null) {
      return drawn;
    }
    Tensor mask = r.mask().to(device());
    return Num.where(Num.gt(mask, 0.5), drawn, repeated(r.image(), count).to(device()));
  }

  private Denoiser denoiser(GenerationRequest r) {
    Denoiser plain = new Denoiser(backbone.network(), new NoiseSchedule(scheduler));
    Tensor condition = conditioner.condition(r.prompts());
    if (condition == null) {
      return plain;
    }
    Denoiser given = plain.given(condition.to(device()));
    Tensor none = r.guidance() == 1 ? null : conditioner.unconditional(r.negative());
    return none == null
        ? given
        : given.with(new Guidance(plain.network(), none.to(device()), r.guidance(), r.rescale()));
  }

  /** A cell of the latents is drawn anew if a pixel of it is. */
  private Tensor latentMask(Tensor mask) {
    Tensor ones = Num.cast(Num.gt(mask, 0.5), backboneType());
    return factor() == 1 ? ones : NN.maxPool2d(ones, factor(), factor());
  }

  private DType backboneType() {
    return backbone.module().parameters().getFirst().value().dtype();
  }

  private static Tensor repeated(Tensor x, int count) {
    return x.dim(0) == count
        ? x
        : Shaping.contiguous(x.expand(count, x.dim(1), x.dim(2), x.dim(3)));
  }

  /** Lets go of all parameters. */
  @Override
  public void close() {
    backbone.module().close();
    conditioner.encoder().ifPresent(Module::close);
    if (vae != null) {
      vae.close();
    }
  }
}
