// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.library;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Compiles small libraries for tests. */
final class NativeBuild {
  private NativeBuild() {}

  /** Compiles C++ text into {@code folder/name} with that SONAME. */
  static Path library(Path folder, String name, String source, String... more)
      throws IOException, InterruptedException {
    Path text = Files.writeString(folder.resolve(name + ".cpp"), source);
    Path library = folder.resolve(name);
    List<String> command =
        new ArrayList<>(
            List.of(
                "g++",
                "-O1",
                "-shared",
                "-fPIC",
                "-o",
                library + "",
                "-Wl,-soname," + name,
                text + ""));
    command.addAll(List.of(more));
    run(command);
    return library;
  }

  static String run(List<String> command) throws IOException, InterruptedException {
    Process p = new ProcessBuilder(command).redirectErrorStream(true).start();
    String output = new String(p.getInputStream().readAllBytes());
    if (p.waitFor() != 0) {
      throw new IllegalStateException(command + ": " + output);
    }
    return output;
  }
}
