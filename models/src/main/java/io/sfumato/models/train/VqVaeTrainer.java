// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.models.vqvae.VqVae;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.TensorFileException;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Supplier;

/**
 * Trains a {@link VqVae}: {@code |x - y|² / var(x)}, a mean over all elements as in Sonnet, plus
 * the quantiser's part. A codebook of averages moves after each step.
 */
public final class VqVaeTrainer extends OneModelTrainer {
  /** Adam as PyTorch has it. */
  public static final UpdateOptions UPDATE = UpdateOptions.adam();

  private final VqVae model;
  private final double variance;
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
    this(model, UPDATE, loader, rng);
  }

  /**
   * A trainer at step 0.
   *
   * @param model the model; closed with this object
   * @param options how steps are made; a codebook that is an average of its own cannot be averaged
   *     once more, so averages of parameters leave it as it is
   * @param loader the batches; the first one gives the variance of the pictures
   * @param rng draws the vectors that unused codes are set to
   * @throws IllegalArgumentException if all pixels of the first batch are equal
   */
  public VqVaeTrainer(VqVae model, UpdateOptions options, Batches loader, Rng rng) {
    super(new Update(model, options), loader, rng);
    this.model = model;
    try (Scope scope = Scope.open()) {
      Tensor first = loader.batch(0).images();
      GradientExchange all = options.exchange(); // each process has a part of the batch
      double own = Num.mean(first).item();
      double apart = own - all.average(own);
      this.variance = all.average(Num.var(first, 0, false).item() + apart * apart);
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
  Supplier<Tensor[]> loss(Batches.Batch batch, Rng draw, boolean training) {
    Tensor x = batch.images();
    return () -> {
      VqVae.Output y = model.call(x);
      Tensor error = NN.mse(y.picture(), x);
      Tensor loss = error.div(variance).add(y.quantized().loss());
      return new Tensor[] {loss, error, y.latents(), y.quantized().codes()};
    };
  }

  @Override
  void stepped(Update.Done done, long steps, Rng draw) {
    Tensor latents = joined(done.extra(1));
    Tensor codes = joined(done.extra(2));
    DType type = model.quantizer().embedding().value().dtype();
    model.quantizer().update(Num.cast(latents, type), codes, update().options().accumulate(), draw);
    double own = done.extra(0).stream().mapToDouble(Tensor::item).average().orElseThrow();
    reconstruction = update().options().exchange().average(own);
    perplexity = model.quantizer().perplexity(codes).item();
  }

  private static Tensor joined(List<Tensor> parts) {
    return parts.size() == 1 ? parts.getFirst() : Shaping.concat(0, parts.toArray(Tensor[]::new));
  }

  /**
   * Writes the model to {@code vqvae/}, with averaged weights if there are any, and what is needed
   * to go on to {@code training/}.
   *
   * @throws TensorFileException if it cannot be written
   */
  @Override
  public void save(Path folder) {
    Path own = folder.resolve("vqvae");
    TrainingFiles.makeFolder(own);
    update()
        .average(
            () -> {
              model.save(own);
              return own;
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
