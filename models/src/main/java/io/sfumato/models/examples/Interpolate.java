// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static io.sfumato.models.cli.Program.require;
import static io.sfumato.models.cli.Program.say;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.cli.Program;
import io.sfumato.models.data.ImageGrid;
import io.sfumato.models.gan.Gan;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.nn.Module;
import io.sfumato.models.train.Checkpoint;
import io.sfumato.models.train.SampleSheet;
import io.sfumato.models.train.TrainingFiles;
import io.sfumato.models.vae.LatentPath;
import io.sfumato.models.vae.Vae;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.function.BiFunction;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** Draws what a trained model makes of the latents between two random ones. */
@Command(
    name = "interpolate",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    showDefaultValues = true,
    description =
        "Walks between two latents of a trained VAE or GAN, a row per walk, and writes"
            + " interpolation.png.")
public final class Interpolate implements Callable<Integer> {
  @Option(
      names = "--model",
      description = "Checkpoint of TrainVae or TrainGan.",
      defaultValue = "out/checkpoint")
  private Path folder = Path.of("out/checkpoint");

  @Option(names = "--out", description = "Folder for the picture.", defaultValue = "out")
  private Path out = Path.of("out");

  @Option(
      names = "--rows",
      description = "Walks; of a class-conditional model one per class, in turn.",
      defaultValue = "10")
  private int rows;

  @Option(
      names = "--steps",
      description = "Pictures per walk, both ends included.",
      defaultValue = "10")
  private int steps;

  @Option(
      names = "--path",
      description = "spherical (as long as random latents are) or linear.",
      defaultValue = "spherical")
  private String path = "spherical";

  @Option(names = "--seed", description = "Seed of the latents.", defaultValue = "0")
  private long seed;

  /**
   * Pictures from latents.
   *
   * @param model what is closed in the end
   * @param latentDim dimensions of a latent
   * @param classes the number of classes, or null
   * @param decode pictures [B, C, H, W] in [-1, 1] of latents [B, latent] and labels
   */
  private record Decoder(
      Module model,
      int latentDim,
      @Nullable Integer classes,
      BiFunction<Tensor, @Nullable Tensor, Tensor> decode) {}

  private Interpolate() {}

  /**
   * Runs the program and exits: 0 when done, 1 after a failure, 2 after wrong options or input.
   *
   * @param args command-line options; see {@code --help}
   */
  public static void main(String[] args) {
    System.exit(run(args));
  }

  /** Runs the program and returns its exit code. */
  static int run(String... args) {
    return Program.run(new Interpolate(), args);
  }

  @Override
  public Integer call() {
    require(rows > 0 && rows <= 100, "--rows must be 1 to 100; got " + rows);
    require(steps > 1 && steps <= 100, "--steps must be 2 to 100; got " + steps);
    require(
        path.equals("spherical") || path.equals("linear"),
        "--path must be spherical or linear; got " + path);
    Decoder decoder = open();
    try (Module model = decoder.model();
        Scope scope = Scope.open()) {
      TrainingFiles.makeFolder(out);
      long[] labels = new long[rows];
      Integer classes = decoder.classes();
      Arrays.setAll(labels, row -> classes == null ? 0 : row % classes);
      Tensor y = classes == null ? null : Tensor.of(labels, rows);
      Tensor from = Rng.seed(seed).fork("from").normal(rows, decoder.latentDim());
      Tensor to = Rng.seed(seed).fork("to").normal(rows, decoder.latentDim());
      Tensor[] columns = new Tensor[steps];
      for (int i = 0; i < steps; i++) {
        double t = i / (steps - 1.0);
        Tensor z =
            path.equals("linear")
                ? LatentPath.linear(from, to, t)
                : LatentPath.spherical(from, to, t);
        columns[i] = decoder.decode().apply(z, y).unsqueeze(1); // [rows, 1, C, H, W]
      }
      write(Shaping.concat(1, columns), labels, classes == null ? List.of() : names(classes));
      say("wrote interpolation.png to %s", out);
      return 0;
    }
  }

  private Decoder open() {
    Path file = folder.resolve("config.json");
    require(
        Files.exists(file),
        "--model "
            + folder
            + ": holds no config.json; it must be a checkpoint of TrainVae or TrainGan");
    JsonNode name = ModelConfig.read(file).path("_class_name");
    return switch (name.asText()) {
      case "Vae" -> {
        Vae vae = Vae.open(folder);
        yield new Decoder(
            vae,
            vae.config().latentDim(),
            vae.config().numClasses(),
            (z, y) -> Num.affine(vae.decode(z, y), 2, -1));
      }
      case "Gan" -> {
        Gan gan = Gan.open(folder);
        yield new Decoder(
            gan, gan.config().latentDim(), gan.config().numClasses(), gan.generator()::call);
      }
      default ->
          throw new IllegalArgumentException(
              file + ": is of the class '" + name.asText() + "'; known are Vae and Gan");
    };
  }

  /** The names that training kept, or numbers. */
  private List<String> names(int classes) {
    if (Files.exists(folder.resolve("training/state.json"))) {
      List<String> names = Checkpoint.readState(folder).classNames();
      if (names.size() == classes) {
        return names;
      }
    }
    List<String> numbers = new ArrayList<>();
    for (int i = 0; i < classes; i++) {
      numbers.add(Integer.toString(i));
    }
    return numbers;
  }

  private void write(Tensor grid, long[] labels, List<String> names) {
    int channels = grid.dim(2);
    int height = grid.dim(3);
    int width = grid.dim(4);
    Tensor all = grid.reshape(rows * steps, channels, height, width);
    List<String> rowLabels = new ArrayList<>();
    for (long label : labels) {
      rowLabels.add(names.isEmpty() ? "" : names.get((int) label));
    }
    ImageGrid.write(
        out.resolve("interpolation.png"),
        SampleSheet.toPixels(all, height, width).toByteArray(),
        channels,
        height,
        width,
        ImageGrid.options()
            .columns(steps)
            .scale(Math.max(1, 64 / Math.max(height, width)))
            .rowLabels(rowLabels));
  }
}
