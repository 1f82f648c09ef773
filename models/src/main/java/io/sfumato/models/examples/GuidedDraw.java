// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import io.sfumato.models.cli.Checked;
import io.sfumato.models.cli.Problems;
import io.sfumato.models.data.ImageDataset;
import io.sfumato.models.diffusion.Denoiser;
import io.sfumato.models.diffusion.Guidance;
import io.sfumato.models.diffusion.Listener;
import io.sfumato.models.diffusion.NoiseSource;
import io.sfumato.models.train.Batches;
import io.sfumato.models.train.DiffusionTrainer;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Tensor;
import java.nio.file.Path;
import java.util.function.IntConsumer;
import picocli.CommandLine.Option;

/** How the examples draw pictures of classes with a trained network. */
final class GuidedDraw implements Checked {
  @Option(names = "--sampling-steps", description = "Steps per sample.", defaultValue = "50")
  private int steps;

  @Option(names = "--guidance", description = "Strength of classifier-free guidance; 1 is none.")
  private double guidance;

  /** Options with the strength of guidance that suits a model. */
  GuidedDraw(double guidance) {
    this.guidance = guidance;
  }

  /** Steps per sample. */
  int steps() {
    return steps;
  }

  @Override
  public void check(Problems problems) {
    problems.require(
        steps > 0 && steps <= 1000, "--sampling-steps must be 1 to 1000; got " + steps);
    problems.require(
        guidance >= 0 && guidance <= 1000, "--guidance must be 0 to 1000; got " + guidance);
  }

  /**
   * What a sampler needs.
   *
   * @param denoiser guided, for the labels
   * @param condition the labels, on the device
   * @param noise the starting point
   * @param source more noise
   * @param listener tells the progress bar
   */
  record Parts(
      Denoiser denoiser, Tensor condition, Tensor noise, NoiseSource source, Listener listener) {}

  /** Draws one batch with a sampler. */
  @FunctionalInterface
  interface Drawing {
    /** The samples, in the current scope. */
    Tensor draw(Parts parts);
  }

  /**
   * Draws all pictures with the averaged weights, and writes them.
   *
   * @return false if a signal ended it
   */
  boolean sample(Workbench bench, DiffusionTrainer trainer, Batches loader, Drawing drawing) {
    return trainer.average(() -> sample(bench, bench.out(), trainer, loader, drawing));
  }

  /** Draws with the weights as they are. */
  Workbench.Sampler sampler(
      Workbench bench, DiffusionTrainer trainer, Batches loader, Drawing drawing) {
    return (labels, rng, done) ->
        drawing.draw(parts(trainer, loader, bench.images(), labels, rng, done));
  }

  /** Draws all pictures with the weights as they are, and writes them to a folder. */
  boolean sample(
      Workbench bench, Path folder, DiffusionTrainer trainer, Batches loader, Drawing drawing) {
    return bench.sample(folder, steps, sampler(bench, trainer, loader, drawing));
  }

  private Parts parts(
      DiffusionTrainer trainer,
      Batches loader,
      ImageDataset images,
      long[] labels,
      Rng rng,
      IntConsumer done) {
    Tensor condition = Tensor.of(labels, labels.length).to(loader.device());
    Tensor none = Tensor.of(new long[] {trainer.noClass()}, 1).to(loader.device());
    Denoiser denoiser = trainer.denoiser();
    Denoiser guided = denoiser.with(new Guidance(denoiser.network(), none, guidance));
    Tensor noise =
        rng.fork("start")
            .normal(labels.length, images.channels(), loader.height(), loader.width())
            .to(loader.device());
    return new Parts(
        guided.given(condition),
        condition,
        noise,
        NoiseSource.of(rng.fork("noise")),
        Listener.watching(progress -> done.accept(labels.length)));
  }
}
