// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.models.gan.Discriminator;
import io.sfumato.models.gan.Gan;
import io.sfumato.models.gan.GanLoss;
import io.sfumato.models.nn.BatchShare;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Trains a {@link Gan}: in each step one or more updates of the discriminator, then one of the
 * generator, whose averaged weights are what is saved and sampled.
 */
public final class GanTrainer implements Trainee {
  /** Why there is no validation loss. */
  public static final String NO_VALIDATION =
      "the losses of a GAN tell who of two networks is ahead, not how good pictures are; look at"
          + " --preview-steps instead";

  /** Batches from which the averaged generator's batch statistics are taken. */
  private static final int STATISTICS_BATCHES = 40;

  private final Gan gan;
  private final GanOptions options;
  private final Batches loader;
  private final Update discriminatorUpdate;
  private final Update generatorUpdate;
  private final Rng rng;
  private long step;

  /**
   * A trainer at step 0, whose steps are made as {@link GanOptions#update} says.
   *
   * @param gan the model; closed with this object
   * @param options how to train
   * @param loader the batches, of the model's size
   * @param rng the source of noise
   */
  public GanTrainer(Gan gan, GanOptions options, Batches loader, Rng rng) {
    this(gan, options, options.update(), loader, rng);
  }

  /**
   * A trainer at step 0.
   *
   * @param gan the model; closed with this object
   * @param options how to train
   * @param how how steps of both models are made; averages are those of the generator
   * @param loader the batches, of the model's size
   * @param rng the source of noise
   * @throws IllegalArgumentException if a penalty of each picture's gradient meets a discriminator
   *     that normalises over the batch
   */
  public GanTrainer(Gan gan, GanOptions options, UpdateOptions how, Batches loader, Rng rng) {
    boolean batchNorm = gan.config().discriminatorNorm().equals("batch");
    if (batchNorm && (options.gradientPenalty() > 0 || options.r1() > 0)) {
      throw new IllegalArgumentException(
          "a gradient penalty or R1 needs scores that depend on one picture alone; the"
              + " discriminator_norm must be group or none, got batch");
    }
    this.gan = gan;
    this.options = options;
    this.loader = loader;
    this.rng = rng;
    this.discriminatorUpdate = new Update(gan.discriminator(), how.ema(null));
    this.generatorUpdate = new Update(gan.generator(), how);
  }

  /** The model. */
  public Gan gan() {
    return gan;
  }

  @Override
  public long steps() {
    return step;
  }

  /**
   * The updates of one step.
   *
   * @return the sum of the last two losses, discriminator's and generator's, and the norm of both
   *     gradients together
   */
  @Override
  public StepResult step(double learningRate) {
    Scope scope = Scope.open();
    try {
      int count = discriminatorUpdate.options().accumulate();
      Inputs inputs = new Inputs(learningRate, count);
      Update.Done judged = null;
      for (int i = 0; i < options.discriminatorSteps(); i++) {
        judged = inputs.judge(i);
      }
      Update.Done drawn = inputs.draw();
      step++;
      double norm = Math.hypot(Objects.requireNonNull(judged).gradientNorm(), drawn.gradientNorm());
      return new StepResult(
          judged.loss() + drawn.loss(), norm, inputs.pictures, judged.skipped() || drawn.skipped());
    } finally {
      scope.close();
    }
  }

  /** The batches of one step, and its random numbers. */
  private final class Inputs {
    private final double rate;
    private final int count;
    private final Rng draw = rng.step(step);
    private final List<long[]> labels = new ArrayList<>(); // of the last real pictures
    private int pictures;
    private int batch;
    private DType type = DType.F32;

    Inputs(double rate, int count) {
      this.rate = rate;
      this.count = count;
    }

    Update.Done judge(int i) {
      labels.clear();
      long first = (step * options.discriminatorSteps() + i) * count;
      return Module.training(
          () ->
              discriminatorUpdate.step(
                  rate * options.discriminatorRate(), first, count, n -> judged(n, i, n - first)));
    }

    private Supplier<Tensor[]> judged(long number, int i, long micro) {
      Batches.Batch real = loader.batch(number);
      Tensor y = labels(real);
      labels.add(real.labels().toLongArray());
      batch = real.images().dim(0);
      type = real.images().dtype();
      pictures += batch;
      Rng own = draw.fork("discriminator").step((long) i * count + micro);
      Tensor mix =
          BatchShare.current()
              .uniform(own.fork("mix"), onHost(type, batch, 1, 1, 1))
              .to(loader.device());
      Tensor generated = gan.generator().call(noise(own, type, batch), y);
      return () -> new Tensor[] {discriminatorLoss(real.images(), generated, y, mix)};
    }

    Update.Done draw() {
      return Module.training(() -> generatorUpdate.step(rate, step * count, count, this::drawn));
    }

    private Supplier<Tensor[]> drawn(long number) {
      long micro = number - step * count;
      Rng own = draw.fork("generator");
      Tensor z = noise(micro == 0 ? own : own.step(micro), type, batch);
      long[] y = labels.get((int) micro);
      return () -> new Tensor[] {generatorLoss(labels(Tensor.of(y, batch)), z)};
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
      Inputs inputs = new Inputs(0, 1);
      Module.training(
          () -> {
            long number = step * options.discriminatorSteps();
            discriminatorUpdate.gradients(number, n -> inputs.judged(n, 0, 0));
            return generatorUpdate.gradients(step, inputs::drawn);
          });
    } finally {
      scope.close();
    }
  }

  @Override
  public String noValidation() {
    return NO_VALIDATION;
  }

  @Override
  public double validationLoss(Batches held, int count) {
    throw new UnsupportedOperationException(NO_VALIDATION);
  }

  @Override
  public List<Update> updates() {
    return List.of(discriminatorUpdate, generatorUpdate);
  }

  @Override
  public String describe(long number) {
    return loader.describe(number);
  }

  private Tensor noise(Rng draw, DType type, int batch) {
    TensorSpec spec = onHost(type, batch, gan.config().latentDim());
    return BatchShare.current().normal(draw.fork("noise"), spec).to(loader.device());
  }

  private static TensorSpec onHost(DType type, int... shape) {
    return new TensorSpec(Shape.of(shape), type, Device.CPU);
  }

  private @Nullable Tensor labels(Batches.Batch batch) {
    return labels(batch.labels());
  }

  private @Nullable Tensor labels(Tensor labels) {
    return gan.config().numClasses() == null ? null : labels.to(loader.device());
  }

  /**
   * The discriminator's loss, with its penalties.
   *
   * @param real pictures [B, C, H, W] in [-1, 1]
   * @param generated the generator's, of the same shape
   * @param labels of both, I64 [B], or null if the model has no classes
   * @param mix uniform in [0, 1), [B, 1, 1, 1]; where the gradient is penalised
   */
  public Tensor discriminatorLoss(
      Tensor real, Tensor generated, @Nullable Tensor labels, Tensor mix) {
    Discriminator d = gan.discriminator();
    Tensor realScores = d.call(real, labels); // [B]
    Tensor generatedScores = d.call(generated, labels);
    Tensor loss = options.loss().discriminator(realScores, generatedScores);
    if (options.gradientPenalty() > 0) {
      Tensor penalty = GanLoss.gradientPenalty(d, real, generated, labels, mix);
      loss = loss.add(penalty.mul(options.gradientPenalty()));
    }
    if (options.r1() > 0 && step % options.r1Interval() == 0) {
      loss = loss.add(GanLoss.r1(d, real, labels).mul(options.r1() / 2 * options.r1Interval()));
    }
    return loss;
  }

  /** The generator's loss for noise [B, latent] and labels, or null if the model has none. */
  public Tensor generatorLoss(@Nullable Tensor labels, Tensor noise) {
    Tensor pictures = gan.generator().call(noise, labels);
    return options.loss().generator(gan.discriminator().call(pictures, labels));
  }

  /**
   * One update of the discriminator; for the parameters see {@link #discriminatorLoss}.
   *
   * @param noise of the generated pictures, [B, latent]
   * @param learningRate the generator's
   * @return the loss
   */
  public double discriminatorStep(
      Tensor real, @Nullable Tensor labels, Tensor noise, Tensor mix, double learningRate) {
    return Module.training(
        () -> {
          Tensor generated = gan.generator().call(noise, labels);
          return one(
              discriminatorUpdate,
              learningRate * options.discriminatorRate(),
              () -> discriminatorLoss(real, generated, labels, mix));
        });
  }

  /**
   * One update of the generator and its average; for the parameters see {@link #generatorLoss}.
   *
   * @return the loss
   */
  public double generatorStep(@Nullable Tensor labels, Tensor noise, double learningRate) {
    return Module.training(
        () -> one(generatorUpdate, learningRate, () -> generatorLoss(labels, noise)));
  }

  private double one(Update update, double rate, Supplier<Tensor> loss) {
    Scope scope = Scope.open();
    try {
      return update.step(rate, step, 1, n -> () -> new Tensor[] {loss.get()}).loss();
    } finally {
      scope.close();
    }
  }

  /**
   * {@inheritDoc} These are the generator's. Running statistics are those of the weights before
   * averaging, so they are taken anew (Izmailov et al. 2018).
   */
  @Override
  public <T> T average(Supplier<T> body) {
    List<Parameter> buffers = gan.generator().buffers();
    try (BufferGuard guard = new BufferGuard(buffers)) { // gives them back their values
      return generatorUpdate.average(
          () -> {
            if (!buffers.isEmpty()) {
              takeStatistics();
            }
            return body.get();
          });
    }
  }

  private void takeStatistics() {
    Rng draw = rng.fork("statistics");
    for (int i = 0; i < STATISTICS_BATCHES; i++) {
      int index = i;
      Scope.run(
          () -> {
            Batches.Batch batch = loader.whole().batch(index); // whoever else trains
            Tensor x = batch.images();
            Tensor z = noise(draw.step(index), x.dtype(), x.dim(0));
            Module.training(() -> gan.generator().call(z, labels(batch)));
          });
    }
  }

  /** Writes the averaged model's folder ({@link Gan#open}), and what is needed to go on in it. */
  @Override
  public void save(Path folder) {
    average(
        () -> {
          gan.save(folder);
          return folder;
        });
    Path training = folder.resolve("training");
    TrainingFiles.save(training.resolve("discriminator"), gan.discriminator(), discriminatorUpdate);
    TrainingFiles.save(training.resolve("generator"), gan.generator(), generatorUpdate);
  }

  @Override
  public void restore(Path folder, long stepsDone) {
    Path training = folder.resolve("training");
    TrainingFiles.restore(
        training.resolve("discriminator"), gan.discriminator(), discriminatorUpdate);
    TrainingFiles.restore(training.resolve("generator"), gan.generator(), generatorUpdate);
    step = stepsDone;
  }

  @Override
  public void close() {
    generatorUpdate.close();
    discriminatorUpdate.close();
    gan.close();
  }
}
