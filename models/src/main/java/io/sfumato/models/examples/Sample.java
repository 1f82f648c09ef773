// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import io.sfumato.models.cli.Program;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/** Draws pictures with any pipeline folder, of this library or of diffusers. */
@Command(
    name = "sample",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    showDefaultValues = true,
    description = "Draws pictures with a pipeline: a row of samples.png per prompt.")
public final class Sample implements Callable<Integer> {
  @Mixin private final DrawOptions options = new DrawOptions();

  private Sample() {}

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
    return Program.run(new Sample(), args);
  }

  @Override
  public Integer call() {
    return options.draw((pipeline, request) -> request);
  }
}
