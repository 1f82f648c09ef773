// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

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
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Trains the first stage of latent diffusion: an {@link AutoencoderKL} or {@link VQModel}, on
 * pixels, perhaps features and a discriminator ({@link AutoencoderLoss}). Both optimisers are Adam
 * with the reference's betas, 0.5 and 0.9.
 */
public final class AutoencoderTrainer implements Trainee {
  /** Adam with the reference's betas. */
  public static final UpdateOptions UPDATE =
      UpdateOptions.adam().adamOptions(Adam.options().betas(0.5, 0.9));

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
  private final Update update;
  private final @Nullable Update discriminatorUpdate;
  private final Rng rng;
  private long step;
  private int pictures;

  /**
   * A trainer of an autoencoder with KL, at step 0.
   *
   * @param model the model; closed with this object
   * @param options the loss, usually {@link AutoencoderLoss.Options#kl}
   * @param klWeight weight of the mean divergence of a picture, usually {@link #KL_WEIGHT}
   * @param perceptual the comparison of features, or null for none
   * @param discriminator closed with this object; null for none
   * @param how how steps are made, of both models
   * @param loader the batches
   * @param rng the source of noise
   */
  public AutoencoderTrainer(
      AutoencoderKL model,
      AutoencoderLoss.Options options,
      double klWeight,
      @Nullable PerceptualLoss perceptual,
      @Nullable PatchDiscriminator discriminator,
      UpdateOptions how,
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
        how,
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
   * @param how how steps are made, of both models
   * @param loader the batches
   * @param rng the source of noise
   */
  public AutoencoderTrainer(
      VQModel model,
      AutoencoderLoss.Options options,
      @Nullable PerceptualLoss perceptual,
      @Nullable PatchDiscriminator discriminator,
      UpdateOptions how,
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
        how,
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
      UpdateOptions how,
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
    this.update = new Update(model, how);
    this.discriminatorUpdate =
        discriminator == null ? null : new Update(discriminator, how.ema(null));
  }

  @Override
  public long steps() {
    return step;
  }

  /**
   * One step of the autoencoder, and, once it takes part, one of the discriminator on the same
   * reconstructions.
   */
  @Override
  public StepResult step(double learningRate) {
    Scope scope = Scope.open();
    try {
      pictures = 0;
      int count = update.options().accumulate();
      Update.Done done = update.step(learningRate, step * count, count, this::autoencoderLoss);
      if (!done.skipped()) {
        judge(done.extra(0), done.extra(1), learningRate);
      }
      step++;
      return StepResult.of(done, pictures);
    } finally {
      scope.close();
    }
  }

  private Supplier<Tensor[]> autoencoderLoss(long number) {
    Tensor x = loader.batch(number).images();
    Rng noise = rng.step(number);
    pictures += x.dim(0);
    return () -> {
      Encoded e = forward.call(x, noise);
      AutoencoderLoss.Parts parts =
          loss.autoencoder(x, e.features(), lastLayer, e.regularizer(), step);
      return new Tensor[] {parts.total(), parts.reconstruction(), x};
    };
  }

  private void judge(List<Tensor> reconstructions, List<Tensor> x, double learningRate) {
    if (discriminatorUpdate != null && loss.isAdversarial(step)) {
      long first = step * x.size();
      discriminatorUpdate.step(
          learningRate,
          first,
          x.size(),
          number -> {
            int i = (int) (number - first);
            return () -> new Tensor[] {loss.discriminator(x.get(i), reconstructions.get(i), step)};
          });
    }
  }

  @Override
  public void skip() {
    step++;
  }

  @Override
  public void rehearse() {
    Scope scope = Scope.open();
    try {
      long first = step * update.options().accumulate();
      List<Tensor> extra = update.gradients(first, this::autoencoderLoss).extra();
      if (discriminatorUpdate != null && loss.isAdversarial(step)) {
        Tensor x = extra.getLast();
        discriminatorUpdate.gradients(
            first, n -> () -> new Tensor[] {loss.discriminator(x, extra.get(1), step)});
      }
    } finally {
      scope.close();
    }
  }

  /** The mean absolute error of the reconstructions, the part of the loss that compares. */
  @Override
  public double validationLoss(Batches held, int count) {
    Rng draw = rng.fork("validation");
    return average(
        () -> {
          double sum = 0;
          for (int i = 0; i < count; i++) {
            Scope scope = Scope.open();
            try {
              Tensor x = held.batch(i).images();
              Encoded e = forward.call(x, draw.step(i));
              sum += Num.mean(Num.abs(lastLayer.call(e.features()).sub(x))).item() / count;
            } finally {
              scope.close();
            }
          }
          return sum;
        });
  }

  @Override
  public <T> T average(Supplier<T> body) {
    return update.average(body);
  }

  @Override
  public List<Update> updates() {
    return discriminatorUpdate == null ? List.of(update) : List.of(update, discriminatorUpdate);
  }

  @Override
  public String describe(long number) {
    return loader.describe(number);
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
    return scalingFactor(model, loader, batches, rng, GradientExchange.NONE);
  }

  /**
   * The same where each of several processes has its share of the pictures; all get one result.
   *
   * @param model the autoencoder
   * @param loader the pictures; batches 0 to {@code batches - 1}
   * @param batches how many
   * @param rng the source of noise
   * @param all the processes, which must ask together
   */
  public static double scalingFactor(
      AutoencoderKL model, Batches loader, int batches, Rng rng, GradientExchange all) {
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
    double mean = all.average(sum) / count; // of each process as many
    double std = Math.sqrt(all.average(squares) / count - mean * mean);
    if (!(std > 0) || !Double.isFinite(1 / std)) {
      throw new IllegalArgumentException(
          "latents have no spread that could be scaled: of "
              + count
              + " values the standard deviation is "
              + std);
    }
    return 1 / std;
  }

  /**
   * Writes {@code vae/}, a folder that diffusers reads, with averaged weights if there are any, and
   * what is needed to go on beside it.
   */
  @Override
  public void save(Path folder) {
    Path own = folder.resolve(ROLE);
    TrainingFiles.makeFolder(own);
    average(
        () -> {
          save.accept(own);
          return own;
        });
    TrainingFiles.save(folder.resolve("training"), model, update);
    if (discriminator != null && discriminatorUpdate != null) {
      TrainingFiles.save(
          folder.resolve("training/discriminator"), discriminator, discriminatorUpdate);
    }
  }

  @Override
  public void restore(Path folder, long stepsDone) {
    TrainingFiles.restore(folder.resolve("training"), model, update);
    if (discriminator != null && discriminatorUpdate != null) {
      TrainingFiles.restore(
          folder.resolve("training/discriminator"), discriminator, discriminatorUpdate);
    }
    step = stepsDone;
  }

  @Override
  public void close() {
    update.close();
    if (discriminatorUpdate != null) {
      discriminatorUpdate.close();
    }
    if (discriminator != null) {
      discriminator.close();
    }
    model.close();
  }
}
