// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.autograd.optim.Ema;
import io.sfumato.models.diffusion.Denoiser;
import io.sfumato.models.diffusion.NoiseSchedule;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.nn.Dropout;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.Weights;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Trains a class-conditional {@link UNet2D}: one call of {@link #step} per batch. The last class of
 * the model's table stands for "no class"; labels are replaced by it now and then, so that the
 * model can be guided when it samples.
 */
public final class DiffusionTrainer implements AutoCloseable {
  private static final double LABEL_DROPOUT = 0.1;
  private static final double MAX_NORM = 1;

  private final UNet2D model;
  private final SchedulerConfig scheduler;
  private final Denoiser denoiser;
  private final BatchLoader loader;
  private final AdamW optimizer;
  private final Ema ema;
  private final Rng rng;
  private final int noClass;
  private long step;

  /**
   * A trainer at step 0.
   *
   * @param model the model; closed with this object
   * @param scheduler noise schedule and parameterisation
   * @param loader the batches
   * @param rng the source of timesteps, noise and dropout
   */
  public DiffusionTrainer(UNet2D model, SchedulerConfig scheduler, BatchLoader loader, Rng rng) {
    Integer classes = model.config().numClassEmbeds();
    if (classes == null) {
      throw new IllegalArgumentException("the model must have a table of classes");
    }
    this.model = model;
    this.scheduler = scheduler;
    this.denoiser =
        new Denoiser((x, t, labels) -> model.call(x, t, labels), new NoiseSchedule(scheduler));
    this.loader = loader;
    this.optimizer = new AdamW(model.parameters(), AdamW.options().weightDecay(0));
    this.ema = new Ema(model.parameters(), Ema.options());
    this.rng = rng;
    this.noClass = classes - 1;
  }

  /** The number of steps done. */
  public long steps() {
    return step;
  }

  /** The denoiser that is being trained. */
  public Denoiser denoiser() {
    return denoiser;
  }

  /** The label that stands for "no class". */
  public int noClass() {
    return noClass;
  }

  /**
   * One optimiser step.
   *
   * @param learningRate the learning rate of this step
   * @return the loss
   */
  public double step(double learningRate) {
    Rng draw = rng.step(step);
    Scope scope = Scope.open();
    try {
      BatchLoader.Batch batch = loader.batch(step);
      Tensor labels = dropLabels(batch.labels(), draw.fork("labels")).to(batch.images().device());
      var result =
          Autograd.valueAndGrad(
              model.parameters(),
              () ->
                  Dropout.active(
                      draw.fork("dropout"),
                      () -> denoiser.loss(batch.images(), labels, draw.fork("loss"))));
      result.gradients().clipByNorm(MAX_NORM);
      optimizer.setLearningRate(learningRate);
      optimizer.step(result.gradients());
      ema.update();
      step++;
      return result.value().item();
    } finally {
      scope.close();
    }
  }

  private Tensor dropLabels(Tensor labels, Rng draw) {
    long[] values = labels.toLongArray();
    float[] u = draw.uniform(values.length).toFloatArray();
    for (int i = 0; i < values.length; i++) {
      values[i] = u[i] < LABEL_DROPOUT ? noClass : values[i];
    }
    return Tensor.of(values, values.length);
  }

  /** Runs {@code body} with the averaged weights in the model. */
  public void withAverage(Runnable body) {
    Ema.Swap averaged = ema.swap();
    try {
      body.run();
    } finally {
      averaged.close();
    }
  }

  /** Writes a checkpoint; see {@link Checkpoint#save}. */
  public void save(Path folder, Checkpoint.State state) {
    Scope.run(
        () -> {
          Map<String, Tensor> optimizerState = new LinkedHashMap<>(optimizer.state());
          ema.state().forEach((name, tensor) -> optimizerState.put("ema." + name, tensor));
          Map<String, Tensor> averaged = new LinkedHashMap<>();
          ema.averages().forEach(p -> averaged.put(p.name(), p.value()));
          Checkpoint.save(folder, model, averaged, optimizerState, scheduler, state);
        });
  }

  /** Goes on from a checkpoint. */
  public void restore(Path folder, Checkpoint.State state) {
    try (Weights weights = Weights.open(folder.resolve("training/weights.safetensors"));
        SafeTensors saved = SafeTensors.open(folder.resolve("training/optimizer.safetensors"));
        Scope scope = Scope.open()) {
      weights.copyInto(model.parameters());
      Map<String, Tensor> optimizerState = new LinkedHashMap<>();
      Map<String, Tensor> emaState = new LinkedHashMap<>();
      for (String name : saved.entries().keySet()) {
        if (name.startsWith("ema.")) {
          emaState.put(name.substring(4), saved.read(name));
        } else {
          optimizerState.put(name, saved.read(name));
        }
      }
      optimizer.load(optimizerState);
      ema.load(emaState);
      step = state.step();
    }
  }

  @Override
  public void close() {
    ema.close();
    optimizer.close();
    model.close();
  }
}
