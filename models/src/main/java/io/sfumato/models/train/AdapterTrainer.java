// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.autograd.optim.AdamW;
import io.sfumato.models.adapter.AdapterFile;
import io.sfumato.models.adapter.AdapterSet;
import io.sfumato.models.adapter.AdapterWriter;
import io.sfumato.models.adapter.LoraPlus;
import io.sfumato.models.adapter.PeftFolder;
import io.sfumato.models.diffusion.Denoiser;
import io.sfumato.models.nn.Dropout;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;

/**
 * Trains an adapter of a class-conditional diffusion model: one call of {@link Trainee#step} per
 * batch. The model itself gets no gradient and stays as it is.
 */
public final class AdapterTrainer extends OneModelTrainer {
  private static final String LYCORIS = "adapter.safetensors";

  /** AdamW without weight decay, gradients limited to a norm of 1. */
  public static final UpdateOptions UPDATE =
      UpdateOptions.adamW().adamOptions(AdamW.options().weightDecay(0)).clipNorm(1.0);

  private final AdapterSet adapter;
  private final Denoiser denoiser;

  /**
   * A trainer at step 0.
   *
   * @param adapter attached to the denoiser's network; not closed with this object
   * @param denoiser gives the loss
   * @param loader the batches
   * @param rng the source of timesteps, noise and dropout
   */
  public AdapterTrainer(AdapterSet adapter, Denoiser denoiser, Batches loader, Rng rng) {
    this(adapter, denoiser, UPDATE, loader, rng);
  }

  /**
   * A trainer at step 0.
   *
   * @param adapter attached to the denoiser's network; not closed with this object
   * @param denoiser gives the loss
   * @param options how steps are made
   * @param loader the batches
   * @param rng the source of timesteps, noise and dropout
   */
  public AdapterTrainer(
      AdapterSet adapter, Denoiser denoiser, UpdateOptions options, Batches loader, Rng rng) {
    super(new Update(adapter.parameters(), options), loader, rng);
    this.adapter = adapter;
    this.denoiser = denoiser;
  }

  /**
   * A trainer whose parameters have learning rates of their own.
   *
   * @param adapter attached to the denoiser's network; not closed with this object
   * @param denoiser gives the loss
   * @param options how steps are made
   * @param loader the batches
   * @param rng the source of timesteps, noise and dropout
   * @param plus how the parameters are sorted
   * @param rate the learning rate that the groups are made for: with another one in {@link
   *     Trainee#step}, all rates change alike
   */
  public AdapterTrainer(
      AdapterSet adapter,
      Denoiser denoiser,
      UpdateOptions options,
      Batches loader,
      Rng rng,
      LoraPlus plus,
      double rate) {
    super(new Update(plus.groups(adapter, rate), options, rate), loader, rng);
    this.adapter = adapter;
    this.denoiser = denoiser;
  }

  @Override
  Supplier<Tensor[]> loss(Batches.Batch batch, Rng draw, boolean training) {
    Tensor labels = batch.labels().to(batch.images().device());
    Supplier<Tensor> loss = () -> denoiser.loss(batch.images(), labels, draw.fork("loss"));
    return () -> new Tensor[] {training ? Dropout.active(draw.fork("dropout"), loss) : loss.get()};
  }

  @Override
  void stepped(Update.Done done, long steps, Rng draw) {
    adapter.stepped(steps);
  }

  /**
   * The file of a checkpoint that has the adapter: PEFT's {@code adapter_model.safetensors}, or
   * {@code adapter.safetensors} with LyCORIS's names where PEFT cannot hold it, as when kinds are
   * mixed.
   */
  public static String fileOf(AdapterSet adapter) {
    return PeftFolder.refuses(adapter) == null ? "adapter_model.safetensors" : LYCORIS;
  }

  /**
   * Writes the adapter as PEFT reads it (or LyCORIS: {@link #fileOf}), averaged if there are
   * averages, and what is needed to go on beside it.
   */
  @Override
  public void save(Path folder) {
    update()
        .average(
            () -> {
              if (fileOf(adapter).equals(LYCORIS)) {
                AdapterWriter.saveKohya(
                    adapter,
                    AdapterFile.Component.UNET,
                    UnaryOperator.identity(),
                    DType.F32,
                    folder.resolve(LYCORIS));
              } else {
                PeftFolder.save(adapter, folder);
              }
              return folder;
            });
    TrainingFiles.save(folder.resolve("training"), adapter.stateDict(), update());
  }

  @Override
  public void restore(Path folder, long stepsDone) {
    List<Parameter> all = new ArrayList<>(adapter.parameters());
    all.addAll(adapter.buffers());
    TrainingFiles.restore(folder.resolve("training"), all, update());
    at(stepsDone);
  }

  @Override
  public void close() {
    update().close();
  }
}
