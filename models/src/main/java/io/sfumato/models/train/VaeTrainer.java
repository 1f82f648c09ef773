// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.models.nn.BatchShare;
import io.sfumato.models.vae.Vae;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.ops.Num;
import java.nio.file.Path;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** Trains a {@link Vae} by Adam on minus the lower bound, in nats per picture. */
public final class VaeTrainer extends OneModelTrainer {
  /** Adam as PyTorch has it. */
  public static final UpdateOptions UPDATE = UpdateOptions.adam();

  private final Vae model;

  /**
   * A trainer at step 0.
   *
   * @param model the model; closed with this object
   * @param loader the batches
   * @param rng the source of noise
   */
  public VaeTrainer(Vae model, Batches loader, Rng rng) {
    this(model, UPDATE, loader, rng);
  }

  /**
   * A trainer at step 0.
   *
   * @param model the model; closed with this object
   * @param options how steps are made
   * @param loader the batches
   * @param rng the source of noise
   */
  public VaeTrainer(Vae model, UpdateOptions options, Batches loader, Rng rng) {
    super(new Update(model, options), loader, rng);
    this.model = model;
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
  Supplier<Tensor[]> loss(Batches.Batch batch, Rng draw, boolean training) {
    Tensor x = toUnit(batch.images());
    Tensor labels = labels(batch);
    Tensor noise = noise(draw, x).to(x.device());
    return () -> new Tensor[] {model.loss(x, labels, noise).total()};
  }

  private Tensor noise(Rng draw, Tensor x) {
    Shape shape = Shape.of(x.dim(0), model.config().latentDim());
    return BatchShare.current().normal(draw, new TensorSpec(shape, x.dtype(), Device.CPU));
  }

  private @Nullable Tensor labels(Batches.Batch batch) {
    return model.config().numClasses() == null ? null : batch.labels();
  }

  /**
   * Writes the model's folder ({@link Vae#open}), with averaged weights if there are any, and what
   * is needed to go on beside it.
   */
  @Override
  public void save(Path folder) {
    update()
        .average(
            () -> {
              model.save(folder);
              return folder;
            });
    TrainingFiles.save(folder.resolve("training"), model, update());
  }

  @Override
  public void restore(Path folder, long stepsDone) {
    TrainingFiles.restore(folder.resolve("training"), model, update());
    at(stepsDone);
  }

  @Override
  public void close() {
    update().close();
    model.close();
  }
}
