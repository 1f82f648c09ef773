// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static io.sfumato.models.cli.Program.require;

import io.sfumato.models.cli.Program;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Paints a part of a picture anew, by a mask or a box; the rest stays as it is. */
@Command(
    name = "inpaint",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    showDefaultValues = true,
    description = "Paints the masked part of a picture anew by a prompt.")
public final class Inpaint implements Callable<Integer> {
  @Mixin private final DrawOptions options = new DrawOptions();

  @Option(names = "--image", required = true, description = "The picture; its middle square.")
  private Path image = Path.of("");

  @Option(names = "--mask", description = "A picture that is white where to paint, else black.")
  private @Nullable Path mask;

  @Option(
      names = "--box",
      split = ",",
      description = "Left, top, right, bottom of where to paint, as parts of the side.",
      defaultValue = "0.5,0,1,1")
  private double[] box = {0.5, 0, 1, 1};

  @Option(
      names = "--strength",
      description = "How far the picture is turned to noise, above 0 to 1.",
      defaultValue = "1")
  private double strength;

  private Inpaint() {}

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
    return Program.run(new Inpaint(), args);
  }

  @Override
  public Integer call() {
    boolean inside = box.length == 4 && Arrays.stream(box).allMatch(v -> v >= 0 && v <= 1);
    require(
        inside && box[0] < box[2] && box[1] < box[3],
        "--box must be left, top, right, bottom from 0 to 1; got " + Arrays.toString(box));
    return options.draw(
        (pipeline, request) -> {
          int side = options.side(pipeline);
          Tensor start = DrawOptions.picture(image, side, DrawOptions.channels(pipeline));
          return request.image(start.mul(2).sub(1), strength).mask(mask(side));
        });
  }

  /** 1 where to paint, [1, 1, side, side]. */
  private Tensor mask(int side) {
    if (mask != null) {
      return Num.cast(Num.gt(DrawOptions.picture(mask, side, 1), 0.5), DType.F32);
    }
    float[] values = new float[side * side];
    for (int p = 0; p < values.length; p++) {
      double x = (p % side + 0.5) / side;
      double y = (p / side + 0.5) / side;
      values[p] = x > box[0] && x < box[2] && y > box[1] && y < box[3] ? 1 : 0;
    }
    return Tensor.of(values, 1, 1, side, side);
  }
}
