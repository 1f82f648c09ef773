// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.autograd.optim.AdamW;
import io.sfumato.models.nn.Dropout;
import io.sfumato.models.vqvae.CodePrior;
import io.sfumato.models.vqvae.VqVae;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Tensor;
import java.nio.file.Path;
import java.util.function.Supplier;

/**
 * Trains a {@link CodePrior} on the codes that a trained {@link VqVae} gives pictures. Labels
 * become "no class" now and then, so that sampling can be guided.
 */
public final class CodePriorTrainer extends OneModelTrainer {
  /** AdamW with GPT-3's decay of the second moment, gradients limited to a norm of 1. */
  public static final UpdateOptions UPDATE =
      UpdateOptions.adamW().adamOptions(AdamW.options().betas(0.9, 0.95)).clipNorm(1.0);

  private final CodePrior prior;
  private final VqVae codes;

  /**
   * A trainer at step 0.
   *
   * @param prior the model; closed with this object
   * @param codes makes codes of pictures; it stays as it is, and open
   * @param loader the batches
   * @param rng the source of dropout
   * @throws IllegalArgumentException if the two models do not fit, or not the pictures
   */
  public CodePriorTrainer(CodePrior prior, VqVae codes, Batches loader, Rng rng) {
    this(prior, codes, UPDATE, loader, rng);
  }

  /**
   * A trainer at step 0.
   *
   * @param prior the model; closed with this object
   * @param codes makes codes of pictures; it stays as it is, and open
   * @param options how steps are made
   * @param loader the batches
   * @param rng the source of dropout
   * @throws IllegalArgumentException if the two models do not fit, or not the pictures
   */
  public CodePriorTrainer(
      CodePrior prior, VqVae codes, UpdateOptions options, Batches loader, Rng rng) {
    checkFit(prior, codes, loader);
    super(new Update(prior, options), loader, rng);
    this.prior = prior;
    this.codes = codes;
  }

  private static void checkFit(CodePrior prior, VqVae codes, Batches loader) {
    int factor = codes.config().factor();
    if (prior.config().codes() != codes.config().codes()
        || prior.config().height() * factor != loader.height()
        || prior.config().width() * factor != loader.width()) {
      throw new IllegalArgumentException(
          "the prior's maps are "
              + prior.config().height()
              + " x "
              + prior.config().width()
              + " of "
              + prior.config().codes()
              + " codes, and those of the pictures "
              + loader.height() / (double) factor
              + " x "
              + loader.width() / (double) factor
              + " of "
              + codes.config().codes());
    }
  }

  /** The prior. */
  public CodePrior prior() {
    return prior;
  }

  @Override
  Supplier<Tensor[]> loss(Batches.Batch batch, Rng draw, boolean training) {
    Tensor own = batch.labels();
    Tensor labels =
        (training ? LabelDropout.apply(own, prior.noClass(), draw.fork("labels")) : own)
            .to(batch.images().device());
    Tensor maps = codes.encode(batch.images()); // [B, h, w]
    Supplier<Tensor> loss = () -> prior.loss(maps, labels);
    return () -> new Tensor[] {training ? Dropout.active(draw.fork("dropout"), loss) : loss.get()};
  }

  /**
   * Writes the model to {@code prior/}, with averaged weights if there are any, and what is needed
   * to go on to {@code training/}.
   */
  @Override
  public void save(Path folder) {
    Path own = folder.resolve("prior");
    TrainingFiles.makeFolder(own);
    update()
        .average(
            () -> {
              prior.save(own);
              return own;
            });
    TrainingFiles.save(folder.resolve("training"), prior, update());
  }

  @Override
  public void restore(Path folder, long stepsDone) {
    TrainingFiles.restore(folder.resolve("training"), prior, update());
    at(stepsDone);
  }

  @Override
  public void close() {
    update().close();
    prior.close();
  }
}
