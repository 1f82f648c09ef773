// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.optim.Adam;
import io.sfumato.models.vqvae.VqVae;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.TensorFileException;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import java.nio.file.Path;

/**
 * Trains a {@link VqVae}: {@code |x - y|² / var(x)}, a mean over all elements as in Sonnet, plus
 * the quantiser's part. A codebook of averages moves after each step.
 */
public final class VqVaeTrainer implements Trainee {
  private final VqVae model;
  private final Batches loader;
  private final Adam optimizer;
  private final Rng rng;
  private final double variance;
  private long step;
  private double reconstruction = Double.NaN;
  private double perplexity = Double.NaN;

  /**
   * A trainer at step 0.
   *
   * @param model the model; closed with this object
   * @param loader the batches; the first one gives the variance of the pictures
   * @param rng draws the vectors that unused codes are set to
   * @throws IllegalArgumentException if all pixels of the first batch are equal
   */
  public VqVaeTrainer(VqVae model, Batches loader, Rng rng) {
    this.model = model;
    this.loader = loader;
    this.optimizer = new Adam(model.parameters(), Adam.options());
    this.rng = rng;
    try (Scope scope = Scope.open()) {
      this.variance = Num.var(loader.batch(0).images(), 0, false).item();
    }
    if (!(variance > 0)) {
      throw new IllegalArgumentException("all pixels of the first batch of pictures are equal");
    }
  }

  /** The model. */
  public VqVae model() {
    return model;
  }

  /** The mean squared error of the last step's reconstructions, before the step. */
  public double reconstruction() {
    return reconstruction;
  }

  /** How many codes the last step's batch used; see {@code VectorQuantizer.perplexity}. */
  public double perplexity() {
    return perplexity;
  }

  @Override
  public long steps() {
    return step;
  }

  @Override
  public double step(double learningRate) {
    try (Scope scope = Scope.open()) {
      Tensor x = loader.batch(step).images();
      var result =
          Autograd.valueAndGradWithExtra(
              model.parameters(),
              () -> {
                VqVae.Output y = model.call(x);
                Tensor error = NN.mse(y.picture(), x);
                Tensor loss = error.div(variance).add(y.quantized().loss());
                return new Tensor[] {loss, error, y.latents(), y.quantized().codes()};
              });
      optimizer.setLearningRate(learningRate);
      optimizer.step(result.gradients());
      Tensor codes = result.extra().get(2);
      model.quantizer().update(result.extra().get(1), codes, rng.step(step));
      reconstruction = result.extra().getFirst().item();
      perplexity = model.quantizer().perplexity(codes).item();
      step++;
      return result.value().item();
    }
  }

  /**
   * Writes the model to {@code vqvae/}, and what is needed to go on to {@code training/}.
   *
   * @throws TensorFileException if it cannot be written
   */
  @Override
  public void save(Path folder) {
    Path own = folder.resolve("vqvae");
    TrainingFiles.makeFolder(own);
    model.save(own);
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
