// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static io.sfumato.models.cli.Program.require;
import static io.sfumato.models.cli.Program.say;

import io.sfumato.models.cli.Program;
import io.sfumato.models.data.ShapeScene;
import io.sfumato.models.eval.ShapesCheck;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;

/** Says how many drawn pictures of the shapes world show the colour and shape of their label. */
@Command(
    name = "judge-shapes",
    mixinStandardHelpOptions = true,
    description = "Judges samples.safetensors of pictures labelled by colour and shape.")
public final class JudgeShapes implements Callable<Integer> {
  private static final int SHAPES = ShapeScene.Shape.values().length;
  private static final int PAIRS = ShapeScene.Colour.values().length * SHAPES;

  @Parameters(
      paramLabel = "SAMPLES",
      arity = "1..*",
      description = "images U8 [N, 3, S, S]; labels I64 [N], colour times 10 plus shape.")
  private List<Path> files = List.of();

  private JudgeShapes() {}

  /**
   * Runs the program and exits: 0 when done, 1 after a failure, 2 after wrong input.
   *
   * @param args files
   */
  public static void main(String[] args) {
    System.exit(run(args));
  }

  /** Runs the program and returns its exit code. */
  static int run(String... args) {
    return Program.run(new JudgeShapes(), args);
  }

  @Override
  public Integer call() {
    files.forEach(JudgeShapes::judge);
    return 0;
  }

  private static void judge(Path file) {
    try (Scope scope = Scope.open();
        SafeTensors samples = SafeTensors.open(file)) {
      require(
          samples.entries().keySet().containsAll(List.of("images", "labels")),
          file + ": must hold images and labels; holds " + samples.entries().keySet());
      Tensor images = samples.read("images");
      long[] labels = samples.read("labels").toLongArray();
      require(
          images.rank() == 4
              && images.dim(0) == labels.length
              && images.dim(1) == 3
              && images.dim(2) == images.dim(3),
          file + ": images must be [N, 3, S, S], N = " + labels.length + "; got " + images.spec());
      int both = 0;
      int colours = 0;
      int shapes = 0;
      int none = 0;
      for (int i = 0; i < labels.length; i++) {
        int label = (int) labels[i];
        require(
            label >= 0 && label < PAIRS,
            file + ": labels must be 0 to " + (PAIRS - 1) + "; got " + label);
        byte[] picture = images.select(0, i).contiguous().toByteArray();
        Optional<ShapesCheck.Reading> reading = ShapesCheck.read(picture, images.dim(2));
        boolean colour = reading.filter(r -> r.colour().ordinal() == label / SHAPES).isPresent();
        boolean shape = reading.filter(r -> r.shape().ordinal() == label % SHAPES).isPresent();
        both += colour && shape ? 1 : 0;
        colours += colour ? 1 : 0;
        shapes += shape ? 1 : 0;
        none += reading.isEmpty() ? 1 : 0;
      }
      double n = labels.length;
      say(
          "%s: %d pictures, %.1f %% show colour and shape of their label (colour %.1f %%, shape"
              + " %.1f %%; %.1f %% show no shape)",
          file, labels.length, 100 * both / n, 100 * colours / n, 100 * shapes / n, 100 * none / n);
    }
  }
}
