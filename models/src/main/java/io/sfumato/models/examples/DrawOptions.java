// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static io.sfumato.models.cli.Program.require;
import static io.sfumato.models.cli.Program.say;

import io.sfumato.models.data.ImageFiles;
import io.sfumato.models.diffusion.Listener;
import io.sfumato.models.pipeline.Conditioner;
import io.sfumato.models.pipeline.GenerationRequest;
import io.sfumato.models.pipeline.LatentDiffusion;
import io.sfumato.models.train.Progress;
import io.sfumato.models.train.SampleSheet;
import io.sfumato.models.vae.AutoencoderKL;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Parallel;
import io.sfumato.tensor.ops.Num;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** The options of all examples that draw with a pipeline. */
final class DrawOptions {
  @Parameters(
      paramLabel = "PIPELINE",
      description = "A pipeline folder, as diffusers or a training example writes it.")
  private Path pipeline = Path.of("out");

  @Option(
      names = "--prompt",
      description = "A text, or a class's name or number; repeatable. All classes if absent.")
  private List<String> prompts = List.of();

  @Option(names = "--count", description = "Pictures per prompt.", defaultValue = "4")
  private int count;

  @Option(names = "--negative", description = "What is not wanted.", defaultValue = "")
  private String negative = "";

  @Option(
      names = "--guidance",
      description = "Strength of classifier-free guidance; 1 is none.",
      defaultValue = "2")
  private double guidance;

  @Option(
      names = "--rescale",
      description = "How much of the deviation that guidance adds is taken back, 0 to 1.",
      defaultValue = "0")
  private double rescale;

  @Option(names = "--steps", description = "The sampler's steps.", defaultValue = "50")
  private int steps;

  @Option(
      names = "--scheduler",
      description = "Class of another sampler, for example DPMSolverMultistepScheduler.")
  private @Nullable String scheduler;

  @Option(names = "--size", description = "Side of the pictures; the pipeline's own if absent.")
  private @Nullable Integer size;

  @Option(names = "--seed", description = "Seed of everything random.", defaultValue = "0")
  private long seed;

  @Option(names = "--threads", description = "Threads on the CPU; all cores if absent.")
  private @Nullable Integer threads;

  @Option(names = "--out", description = "Folder for results.", defaultValue = "drawn")
  private Path out = Path.of("drawn");

  /** Turns the plain request into the program's own. */
  interface Change {
    /**
     * Adds image and mask.
     *
     * @param pipeline what draws
     * @param request prompts and the common options
     */
    GenerationRequest apply(LatentDiffusion pipeline, GenerationRequest request);
  }

  /** Draws, and writes {@code samples.png}, {@code samples.safetensors} and single pictures. */
  int draw(Change change) {
    require(count > 0 && count <= 1000, "--count must be 1 to 1000; got " + count);
    require(
        threads == null || (threads > 0 && threads <= 1024),
        "--threads must be 1 to 1024; got " + threads);
    if (threads != null) {
      Parallel.setThreads(threads);
    }
    try (Scope scope = Scope.open();
        LatentDiffusion read = LatentDiffusion.open(pipeline)) {
      LatentDiffusion model = scheduler == null ? read : read.with(read.scheduler().as(scheduler));
      List<String> rows =
          prompts.isEmpty() ? all(model) : List.copyOf(new LinkedHashSet<>(prompts));
      GenerationRequest request =
          GenerationRequest.of(rows)
              .each(count)
              .negative(negative)
              .guidance(model.conditioner() instanceof Conditioner.None ? 1 : guidance, rescale)
              .steps(steps)
              .seed(seed);
      if (size != null) {
        request = request.size(size, size);
      }
      request = change.apply(model, request);
      try (Progress bar = Progress.open("drawing", steps)) {
        Tensor drawn =
            model.generate(
                request.listener(
                    Listener.watching(p -> bar.at((long) p.step() * steps / p.of(), ""))));
        write(SampleSheet.toPixels(drawn, drawn.dim(2), drawn.dim(3)), rows);
      }
      say("wrote samples.png, samples.safetensors and pictures to %s", out);
      return 0;
    }
  }

  private List<String> all(LatentDiffusion model) {
    if (model.conditioner() instanceof Conditioner.None) {
      return List.of("");
    }
    require(
        !model.classNames().isEmpty(), "--prompt is needed: the pipeline has no list of classes");
    return model.classNames();
  }

  private void write(Tensor pixels, List<String> rows) {
    Path pictures = out.resolve("pictures");
    try {
      Files.createDirectories(pictures);
    } catch (IOException e) {
      throw new UncheckedIOException("--out " + out + ": cannot be written", e);
    }
    long[] labels = new long[pixels.dim(0)];
    Arrays.setAll(labels, i -> i / count);
    SampleSheet.write(out, pixels, labels, rows.stream().map(r -> r.isEmpty() ? "-" : r).toList());
    for (int i = 0; i < labels.length; i++) {
      ImageFiles.writePng(
          pictures.resolve(String.format("%03d.png", i)),
          pixels.select(0, i).contiguous().toByteArray(),
          pixels.dim(1),
          pixels.dim(2),
          pixels.dim(3));
    }
  }

  /**
   * Reads a picture for a pipeline, [1, C, side, side] in [0, 1].
   *
   * @param channels 1 for its grey, or 3
   */
  static Tensor picture(Path file, int side, int channels) {
    byte[] rgb = ImageFiles.readSquare(file, side);
    Tensor all = Num.cast(Tensor.of(rgb, 1, 3, side, side), DType.F32).div(255);
    return channels == 3 ? all : Num.mean(all, true, 1);
  }

  /** Channels of the pictures of a pipeline. */
  static int channels(LatentDiffusion pipeline) {
    AutoencoderKL vae = pipeline.vae();
    return vae == null ? pipeline.backbone().inChannels() : vae.config().inChannels();
  }

  /** The side of the pictures: that of {@code --size}, or the pipeline's own. */
  int side(LatentDiffusion model) {
    if (size != null) {
      return size;
    }
    Integer side = model.backbone().sampleSide();
    require(side != null, "--size is needed: the pipeline's files do not say one");
    return (side == null ? 1 : side) * model.factor();
  }
}
