// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.autograd.optim.StepOptions;
import io.sfumato.models.adapter.AdapterSet;
import io.sfumato.models.adapter.LoraPlus;
import io.sfumato.models.adapter.PeftFolder;
import io.sfumato.models.diffusion.Denoiser;
import io.sfumato.models.nn.Dropout;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.Weights;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Trains an adapter of a class-conditional diffusion model: one call of {@link #step} per batch.
 * The model itself gets no gradient and stays as it is.
 */
public final class AdapterTrainer implements Trainee {
  private static final double MAX_NORM = 1;

  private final AdapterSet adapter;
  private final Denoiser denoiser;
  private final Batches loader;
  private final AdamW optimizer;
  private final Rng rng;
  private final @Nullable Double groupRate;
  private long step;

  /**
   * A trainer at step 0.
   *
   * @param adapter attached to the denoiser's network; not closed with this object
   * @param denoiser gives the loss
   * @param loader the batches
   * @param rng the source of timesteps, noise and dropout
   */
  public AdapterTrainer(AdapterSet adapter, Denoiser denoiser, Batches loader, Rng rng) {
    this.adapter = adapter;
    this.denoiser = denoiser;
    this.loader = loader;
    this.optimizer = new AdamW(adapter.parameters(), AdamW.options().weightDecay(0));
    this.rng = rng;
    this.groupRate = null;
  }

  /**
   * A trainer whose parameters have learning rates of their own.
   *
   * @param plus how they are sorted
   * @param rate the learning rate that the groups are made for: with another one in {@link #step},
   *     all rates change alike
   */
  public AdapterTrainer(
      AdapterSet adapter, Denoiser denoiser, Batches loader, Rng rng, LoraPlus plus, double rate) {
    this.adapter = adapter;
    this.denoiser = denoiser;
    this.loader = loader;
    this.optimizer = new AdamW(plus.groups(adapter, rate), AdamW.options().weightDecay(0));
    this.rng = rng;
    this.groupRate = rate;
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
      Tensor labels = batch.labels().to(batch.images().device());
      var result =
          Autograd.valueAndGrad(
              adapter.parameters(),
              () ->
                  Dropout.active(
                      draw.fork("dropout"),
                      () -> denoiser.loss(batch.images(), labels, draw.fork("loss"))));
      if (groupRate == null) {
        optimizer.setLearningRate(learningRate);
      } else {
        optimizer.setLearningRateFactor(learningRate / groupRate);
      }
      optimizer.step(result.gradients(), StepOptions.limit(MAX_NORM));
      step++;
      adapter.stepped(step);
      return result.value().item();
    }
  }

  /** Writes the adapter as PEFT reads it, and what is needed to go on beside it. */
  @Override
  public void save(Path folder) {
    PeftFolder.save(adapter, folder);
    Path training = folder.resolve("training");
    TrainingFiles.makeFolder(training);
    try (Scope scope = Scope.open()) {
      SafeTensors.save(training.resolve("weights.safetensors"), adapter.stateDict());
      SafeTensors.save(
          training.resolve("optimizer.safetensors"), new LinkedHashMap<>(optimizer.state()));
    }
  }

  @Override
  public void restore(Path folder, long stepsDone) {
    Path training = folder.resolve("training");
    try (Weights weights = Weights.open(training.resolve("weights.safetensors"));
        SafeTensors saved = SafeTensors.open(training.resolve("optimizer.safetensors"));
        Scope scope = Scope.open()) {
      weights.copyInto(adapter.parameters());
      weights.copyInto(adapter.buffers());
      Map<String, Tensor> state = new LinkedHashMap<>();
      saved.entries().keySet().forEach(name -> state.put(name, saved.read(name)));
      optimizer.load(state);
      step = stepsDone;
    }
  }

  @Override
  public void close() {
    optimizer.close();
  }
}
