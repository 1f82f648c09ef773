// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.models.nn.Dropout;
import io.sfumato.models.vqvae.CodePrior;
import io.sfumato.models.vqvae.VqVae;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import java.nio.file.Path;

/**
 * Trains a {@link CodePrior} on the codes that a trained {@link VqVae} gives pictures. Labels
 * become "no class" now and then, so that sampling can be guided.
 */
public final class CodePriorTrainer implements Trainee {
  private static final double MAX_NORM = 1;

  private final CodePrior prior;
  private final VqVae codes;
  private final Batches loader;
  private final AdamW optimizer;
  private final Rng rng;
  private long step;

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
    this.prior = prior;
    this.codes = codes;
    this.loader = loader;
    this.optimizer = // GPT-3's decay of the second moment
        new AdamW(prior.parameters(), AdamW.options().betas(0.9, 0.95).weightDecay(0.01));
    this.rng = rng;
  }

  /** The prior. */
  public CodePrior prior() {
    return prior;
  }

  @Override
  public long steps() {
    return step;
  }

  @Override
  public double step(double learningRate) {
    Rng draw = rng.step(step);
    try (Scope scope = Scope.open()) {
      Batches.Batch batch = loader.batch(step);
      Tensor labels =
          LabelDropout.apply(batch.labels(), prior.noClass(), draw.fork("labels"))
              .to(batch.images().device());
      Tensor maps = codes.encode(batch.images()); // [B, h, w]
      var result =
          Autograd.valueAndGrad(
              prior.parameters(),
              () -> Dropout.active(draw.fork("dropout"), () -> prior.loss(maps, labels)));
      result.gradients().clipByNorm(MAX_NORM);
      optimizer.setLearningRate(learningRate);
      optimizer.step(result.gradients());
      step++;
      return result.value().item();
    }
  }

  /** Writes the model to {@code prior/}, and what is needed to go on to {@code training/}. */
  @Override
  public void save(Path folder) {
    Path own = folder.resolve("prior");
    TrainingFiles.makeFolder(own);
    prior.save(own);
    TrainingFiles.save(folder.resolve("training"), prior, optimizer, null);
  }

  @Override
  public void restore(Path folder, long stepsDone) {
    TrainingFiles.restore(folder.resolve("training"), prior, optimizer, null);
    step = stepsDone;
  }

  @Override
  public void close() {
    optimizer.close();
    prior.close();
  }
}
