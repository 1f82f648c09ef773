// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.optim.Adam;
import io.sfumato.models.vae.Vae;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/** Trains a {@link Vae} by Adam on minus the lower bound, in nats per picture. */
public final class VaeTrainer implements Trainee {
  private final Vae model;
  private final Batches loader;
  private final Adam optimizer;
  private final Rng rng;
  private long step;

  /**
   * A trainer at step 0.
   *
   * @param model the model; closed with this object
   * @param loader the batches
   * @param rng the source of noise
   */
  public VaeTrainer(Vae model, Batches loader, Rng rng) {
    this.model = model;
    this.loader = loader;
    this.optimizer = new Adam(model.parameters(), Adam.options());
    this.rng = rng;
  }

  /** A loader's pictures, [-1, 1], as the model has them, [0, 1]. */
  public static Tensor toUnit(Tensor images) {
    return Num.affine(images, 0.5, 0.5);
  }

  /** The model. */
  public Vae model() {
    return model;
  }

  @Override
  public long steps() {
    return step;
  }

  /** One step; a loss that is not finite is returned and changes no parameter. */
  @Override
  public double step(double learningRate) {
    Scope scope = Scope.open();
    try {
      Batches.Batch batch = loader.batch(step);
      Tensor x = toUnit(batch.images());
      Tensor labels = labels(batch);
      Tensor noise = rng.step(step).normal(x.dim(0), model.config().latentDim()).to(x.device());
      var result =
          Autograd.valueAndGrad(model.parameters(), () -> model.loss(x, labels, noise).total());
      double loss = result.value().item();
      if (Double.isFinite(loss)) {
        optimizer.setLearningRate(learningRate);
        optimizer.step(result.gradients());
      }
      step++;
      return loss;
    } finally {
      scope.close();
    }
  }

  private @Nullable Tensor labels(Batches.Batch batch) {
    return model.config().numClasses() == null ? null : batch.labels();
  }

  /** Writes the model's folder ({@link Vae#open}), and what is needed to go on beside it. */
  @Override
  public void save(Path folder) {
    model.save(folder);
    TrainingFiles.save(folder.resolve("training"), model, optimizer, null);
  }

  @Override
  public void restore(Path folder, long stepsDone) {
    TrainingFiles.restore(folder.resolve("training"), model, optimizer, null);
    step = stepsDone;
  }

  @Override
  public void close() {
    optimizer.close();
    model.close();
  }
}
