// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.autograd.optim.AdamW;
import io.sfumato.autograd.optim.Ema;
import io.sfumato.models.diffusion.Denoiser;
import io.sfumato.models.diffusion.LossOptions;
import io.sfumato.models.diffusion.NoiseSchedule;
import io.sfumato.models.diffusion.SchedulerConfig;
import io.sfumato.models.nn.Dropout;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.nn.Module;
import io.sfumato.models.unet.UNet2D;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Trains a class-conditional network: one call of {@link Trainee#step} per batch. Labels are
 * replaced by "no class" now and then, so that the model can be guided when it samples.
 */
public final class DiffusionTrainer extends OneModelTrainer {
  /** AdamW without weight decay, gradients limited to a norm of 1, averages as diffusers' have. */
  public static final UpdateOptions UPDATE =
      UpdateOptions.adamW()
          .adamOptions(AdamW.options().weightDecay(0))
          .clipNorm(1.0)
          .ema(Ema.options());

  private final TrainedModel trained;
  private final Module model;
  private final SchedulerConfig scheduler;
  private final Denoiser denoiser;
  private final int noClass;
  private final @Nullable FirstStage firstStage;

  /**
   * A trainer at step 0.
   *
   * @param model the model; closed with this object
   * @param scheduler noise schedule and parameterisation
   * @param loader the batches
   * @param rng the source of timesteps, noise and dropout
   */
  public DiffusionTrainer(TrainedModel model, SchedulerConfig scheduler, Batches loader, Rng rng) {
    this(model, scheduler, LossOptions.PLAIN, loader, rng);
  }

  /**
   * A trainer at step 0.
   *
   * @param model the model; closed with this object
   * @param scheduler noise schedule and parameterisation
   * @param loss what is minimised
   * @param loader the batches
   * @param rng the source of timesteps, noise and dropout
   */
  public DiffusionTrainer(
      TrainedModel model, SchedulerConfig scheduler, LossOptions loss, Batches loader, Rng rng) {
    this(model, scheduler, loss, loader, rng, null);
  }

  /**
   * A trainer of a network on latents, at step 0.
   *
   * @param model the model; closed with this object
   * @param scheduler noise schedule and parameterisation
   * @param loss what is minimised
   * @param loader the batches
   * @param rng the source of latents, timesteps, noise and dropout
   * @param firstStage gives latents and writes the pipeline; null for pictures as they are
   */
  public DiffusionTrainer(
      TrainedModel model,
      SchedulerConfig scheduler,
      LossOptions loss,
      Batches loader,
      Rng rng,
      @Nullable FirstStage firstStage) {
    this(model, scheduler, loss, UPDATE, loader, rng, firstStage);
  }

  /**
   * A trainer with everything said, at step 0.
   *
   * @param model the model; closed with this object
   * @param scheduler noise schedule and parameterisation
   * @param loss what is minimised
   * @param options how steps are made
   * @param loader the batches
   * @param rng the source of latents, timesteps, noise and dropout
   * @param firstStage gives latents and writes the pipeline; null for pictures as they are
   */
  public DiffusionTrainer(
      TrainedModel model,
      SchedulerConfig scheduler,
      LossOptions loss,
      UpdateOptions options,
      Batches loader,
      Rng rng,
      @Nullable FirstStage firstStage) {
    super(new Update(model.model(), options), loader, rng);
    this.firstStage = firstStage;
    this.trained = model;
    this.model = model.model();
    this.scheduler = scheduler;
    this.denoiser = new Denoiser(model.network(), new NoiseSchedule(scheduler)).with(loss);
    this.noClass = model.noClass();
  }

  /** A trainer of a U-Net, at step 0. */
  public DiffusionTrainer(UNet2D model, SchedulerConfig scheduler, Batches loader, Rng rng) {
    this(TrainedModel.of(model), scheduler, loader, rng);
  }

  /** The denoiser that is being trained. */
  public Denoiser denoiser() {
    return denoiser;
  }

  /** The label that stands for "no class". */
  public int noClass() {
    return noClass;
  }

  @Override
  Supplier<Tensor[]> loss(Batches.Batch batch, Rng draw, boolean training) {
    Tensor labels = labels(batch, draw, training);
    Tensor x = shown(batch, draw);
    Supplier<Tensor> loss = () -> denoiser.loss(x, labels, draw.fork("loss"));
    return () -> new Tensor[] {training ? Dropout.active(draw.fork("dropout"), loss) : loss.get()};
  }

  private Tensor labels(Batches.Batch batch, Rng draw, boolean training) {
    Tensor own = batch.labels();
    return (training ? LabelDropout.apply(own, noClass, draw.fork("labels")) : own)
        .to(batch.images().device());
  }

  private Tensor shown(Batches.Batch batch, Rng draw) {
    return firstStage == null
        ? batch.images()
        : firstStage.encode(batch.images(), draw.fork("first stage"));
  }

  @Override
  RepeatedBatchLoss repeated() {
    return new Recordable();
  }

  /** Timesteps and noise are drawn before; the network and its error can be recorded. */
  private final class Recordable implements RepeatedBatchLoss {
    private double[] times = {}; // the same array always, for recorded work reads it anew
    private Rng dropout = Rng.seed(0);

    @Override
    public List<Tensor> inputs(Batches.Batch batch, Rng draw) {
      Denoiser.Noised noised = denoiser.noised(shown(batch, draw), draw.fork("loss"));
      if (times.length != noised.times().length) {
        times = new double[noised.times().length]; // before the recording: shapes stay
      }
      System.arraycopy(noised.times(), 0, times, 0, times.length);
      dropout = draw.fork("dropout");
      List<Tensor> inputs =
          new ArrayList<>(
              List.of(labels(batch, draw, true), noised.x0(), noised.noisy(), noised.target()));
      if (noised.weights() != null) {
        inputs.add(noised.weights());
      }
      return inputs;
    }

    @Override
    public Tensor[] of(List<Tensor> inputs) {
      Tensor weights = inputs.size() > 4 ? inputs.get(4) : null;
      Denoiser.Noised noised =
          new Denoiser.Noised(inputs.get(1), inputs.get(2), inputs.get(3), weights, times);
      return Dropout.active(dropout, () -> new Tensor[] {denoiser.loss(noised, inputs.getFirst())});
    }
  }

  /** Writes a pipeline of the averaged weights, and what is needed to go on beside it. */
  @Override
  public void save(Path folder) {
    if (firstStage == null) {
      savePipeline(folder);
    } else {
      average(
          () -> {
            firstStage.save(folder);
            return firstStage;
          });
    }
    TrainingFiles.save(folder.resolve("training"), model, update());
  }

  private void savePipeline(Path folder) {
    Map<String, Object> index = new TreeMap<>();
    index.put("_class_name", trained.pipelineName());
    index.put("_diffusers_version", ModelConfig.DIFFUSERS_VERSION);
    index.put("scheduler", List.of("diffusers", scheduler.className()));
    index.put(trained.role(), List.of("diffusers", trained.className()));
    ModelConfig.write(folder.resolve("model_index.json"), index);
    TrainingFiles.makeFolder(folder.resolve("scheduler"));
    ModelConfig.write(folder.resolve("scheduler/scheduler_config.json"), scheduler.toMap());
    Path own = folder.resolve(trained.role());
    TrainingFiles.makeFolder(own);
    ModelConfig.write(own.resolve("config.json"), trained.config());
    Scope.run(
        () ->
            SafeTensors.save(
                own.resolve("diffusion_pytorch_model.safetensors"),
                trained.export().apply(update().averages())));
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
