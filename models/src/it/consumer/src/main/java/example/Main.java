// SPDX-License-Identifier: Apache-2.0
package example;

import io.sfumato.tensor.cpu.CpuBackend;
import java.nio.file.Files;
import java.nio.file.Path;

/** A user's program: what the README shows, and a network of its own. */
public final class Main {
  private Main() {}

  /** Optionally the number of steps and the folder to write to. */
  public static void main(String[] args) throws Exception {
    int steps = args.length > 0 ? Integer.parseInt(args[0]) : 12;
    Path folder = args.length > 1 ? Path.of(args[1]) : Files.createTempDirectory("sfumato");
    Training.run(steps, folder);
    FineTuning.run(steps, folder);
    OwnNetwork.run();
    check(Files.exists(folder.resolve("model/config.json")), "no model in " + folder);
    check(Files.exists(folder.resolve("adapter/adapter_config.json")), "no adapter in " + folder);
    check(CpuBackend.instance().memory().live() == 0, "memory is still in use at the end");
  }

  static void check(boolean ok, String message) {
    if (!ok) {
      throw new IllegalStateException(message);
    }
  }
}
