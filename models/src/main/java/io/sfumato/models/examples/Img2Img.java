// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import io.sfumato.models.cli.Program;
import io.sfumato.tensor.Tensor;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Draws variations of a picture: it is turned to noise in part, and drawn again from there. */
@Command(
    name = "img2img",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    showDefaultValues = true,
    description = "Draws a picture again by a prompt, near to or far from what it was.")
public final class Img2Img implements Callable<Integer> {
  @Mixin private final DrawOptions options = new DrawOptions();

  @Option(names = "--image", required = true, description = "The picture; its middle square.")
  private Path image = Path.of("");

  @Option(
      names = "--strength",
      description = "How far it is turned to noise, above 0 to 1.",
      defaultValue = "0.7")
  private double strength;

  private Img2Img() {}

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
    return Program.run(new Img2Img(), args);
  }

  @Override
  public Integer call() {
    return options.draw(
        (pipeline, request) -> {
          Tensor start =
              DrawOptions.picture(image, options.side(pipeline), DrawOptions.channels(pipeline));
          return request.image(start.mul(2).sub(1), strength);
        });
  }
}
