// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.optim.Adam;
import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Module;
import io.sfumato.models.vae.AutoencoderKL;
import io.sfumato.models.vae.AutoencoderLoss;
import io.sfumato.models.vae.DiagonalGaussianDistribution;
import io.sfumato.models.vae.PatchDiscriminator;
import io.sfumato.models.vae.PerceptualLoss;
import io.sfumato.models.vae.VQModel;
import io.sfumato.models.vae.VectorQuantizer;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import java.nio.file.Path;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Trains the first stage of latent diffusion: an {@link AutoencoderKL} or {@link VQModel}, on
 * pixels, perhaps features and a discriminator ({@link AutoencoderLoss}). Both optimisers are Adam
 * with the reference's betas, 0.5 and 0.9.
 */
public final class AutoencoderTrainer implements Trainee {
  /** The weight of the KL divergence in the reference's autoencoders. */
  public static final double KL_WEIGHT = 1e-6;

  private static final String ROLE = "vae";

  /** What the loss needs of one forward: the last layer's input, and the regulariser. */
  private record Encoded(Tensor features, Tensor regularizer) {}

  /** A kind of autoencoder. */
  private interface Forward {
    Encoded call(Tensor x, Rng rng);
  }

  private final Module model;
  private final Forward forward;
  private final Conv2d lastLayer;
  private final Consumer<Path> save;
  private final AutoencoderLoss loss;
  private final @Nullable PatchDiscriminator discriminator;
  private final Batches loader;
  private final Adam optimizer;
  private final @Nullable Adam discriminatorOptimizer;
  private final Rng rng;
  private long step;

  /**
   * A trainer of an autoencoder with KL, at step 0.
   *
   * @param model the model; closed with this object
   * @param options the loss, usually {@link AutoencoderLoss.Options#kl}
   * @param klWeight weight of the mean divergence of a picture, usually {@link #KL_WEIGHT}
   * @param perceptual the comparison of features, or null for none
   * @param discriminator closed with this object; null for none
   * @param loader the batches
   * @param rng the source of noise
   */
  public AutoencoderTrainer(
      AutoencoderKL model,
      AutoencoderLoss.Options options,
      double klWeight,
      @Nullable PerceptualLoss perceptual,
      @Nullable PatchDiscriminator discriminator,
      Batches loader,
      Rng rng) {
    this(
        model,
        (x, noise) -> {
          DiagonalGaussianDistribution posterior = model.encode(x);
          Tensor z = posterior.sample(noise);
          return new Encoded(model.features(z), Num.mean(posterior.kl()).mul(klWeight));
        },
        model.decoder().lastLayer(),
        model::save,
        options,
        perceptual,
        discriminator,
        loader,
        rng);
  }

  /**
   * A trainer of an autoencoder with a codebook, at step 0.
   *
   * @param model the model; closed with this object
   * @param options the loss, usually {@link AutoencoderLoss.Options#vq}
   * @param perceptual the comparison of features, or null for none
   * @param discriminator closed with this object; null for none
   * @param loader the batches
   * @param rng the source of noise
   */
  public AutoencoderTrainer(
      VQModel model,
      AutoencoderLoss.Options options,
      @Nullable PerceptualLoss perceptual,
      @Nullable PatchDiscriminator discriminator,
      Batches loader,
      Rng rng) {
    this(
        model,
        (x, noise) -> {
          VectorQuantizer.Quantized q = model.quantizer().quantize(model.encode(x));
          return new Encoded(model.features(q.quantized()), q.loss());
        },
        model.decoder().lastLayer(),
        model::save,
        options,
        perceptual,
        discriminator,
        loader,
        rng);
  }

  private AutoencoderTrainer(
      Module model,
      Forward forward,
      Conv2d lastLayer,
      Consumer<Path> save,
      AutoencoderLoss.Options options,
      @Nullable PerceptualLoss perceptual,
      @Nullable PatchDiscriminator discriminator,
      Batches loader,
      Rng rng) {
    this.model = model;
    this.forward = forward;
    this.lastLayer = lastLayer;
    this.save = save;
    this.loss = new AutoencoderLoss(options, perceptual, discriminator);
    this.discriminator = discriminator;
    this.loader = loader;
    this.rng = rng;
    this.optimizer = new Adam(model.parameters(), Adam.options().betas(0.5, 0.9));
    this.discriminatorOptimizer =
        discriminator == null
            ? null
            : new Adam(discriminator.parameters(), Adam.options().betas(0.5, 0.9));
  }

  @Override
  public long steps() {
    return step;
  }

  /**
   * One step of the autoencoder, and, once it takes part, one of the discriminator on the same
   * reconstructions. A loss that is not finite is returned and changes no parameter.
   */
  @Override
  public double step(double learningRate) {
    Scope scope = Scope.open();
    try {
      Tensor x = loader.batch(step).images();
      Rng noise = rng.step(step);
      Autograd.Result result =
          Autograd.valueAndGradWithExtra(
              model.parameters(),
              () -> {
                Encoded e = forward.call(x, noise);
                AutoencoderLoss.Parts parts =
                    loss.autoencoder(x, e.features(), lastLayer, e.regularizer(), step);
                return new Tensor[] {parts.total(), parts.reconstruction()};
              });
      double total = result.value().item();
      if (Double.isFinite(total)) {
        optimizer.setLearningRate(learningRate);
        optimizer.step(result.gradients());
        judge(x, result.extra().getFirst(), learningRate);
      }
      step++;
      return total;
    } finally {
      scope.close();
    }
  }

  private void judge(Tensor x, Tensor reconstruction, double learningRate) {
    if (discriminator == null || discriminatorOptimizer == null || !loss.isAdversarial(step)) {
      return;
    }
    Autograd.Result result =
        Autograd.valueAndGrad(
            discriminator.parameters(), () -> loss.discriminator(x, reconstruction, step));
    discriminatorOptimizer.setLearningRate(learningRate);
    discriminatorOptimizer.step(result.gradients());
  }

  /**
   * The factor that gives latents of the next pictures standard deviation 1, as latent diffusion
   * wants them: {@code scaling_factor}.
   *
   * @param model the autoencoder
   * @param loader the pictures; batches 0 to {@code batches - 1}
   * @param batches how many
   * @param rng the source of noise
   */
  public static double scalingFactor(AutoencoderKL model, Batches loader, int batches, Rng rng) {
    double sum = 0;
    double squares = 0;
    long count = 0;
    for (int i = 0; i < batches; i++) {
      Scope scope = Scope.open();
      try {
        Tensor z = model.encode(loader.batch(i).images()).sample(rng.step(i));
        for (double v : z.toDoubleArray()) {
          sum += v;
          squares += v * v;
        }
        count += z.numel();
      } finally {
        scope.close();
      }
    }
    double mean = sum / count;
    double std = Math.sqrt(squares / count - mean * mean);
    if (!(std > 0) || !Double.isFinite(1 / std)) {
      throw new IllegalArgumentException(
          "latents have no spread that could be scaled: of "
              + count
              + " values the standard deviation is "
              + std);
    }
    return 1 / std;
  }

  /** Writes {@code vae/}, a folder that diffusers reads, and what is needed to go on beside it. */
  @Override
  public void save(Path folder) {
    TrainingFiles.makeFolder(folder.resolve(ROLE));
    save.accept(folder.resolve(ROLE));
    TrainingFiles.save(folder.resolve("training"), model, optimizer, null);
    if (discriminator != null && discriminatorOptimizer != null) {
      TrainingFiles.save(
          folder.resolve("training/discriminator"), discriminator, discriminatorOptimizer, null);
    }
  }

  @Override
  public void restore(Path folder, long stepsDone) {
    TrainingFiles.restore(folder.resolve("training"), model, optimizer, null);
    if (discriminator != null && discriminatorOptimizer != null) {
      TrainingFiles.restore(
          folder.resolve("training/discriminator"), discriminator, discriminatorOptimizer, null);
    }
    step = stepsDone;
  }

  @Override
  public void close() {
    optimizer.close();
    if (discriminatorOptimizer != null) {
      discriminatorOptimizer.close();
    }
    if (discriminator != null) {
      discriminator.close();
    }
    model.close();
  }
}
