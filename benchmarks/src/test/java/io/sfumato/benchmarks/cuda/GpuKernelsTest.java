// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.cuda;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

final class GpuKernelsTest {
  private static final Path PEER = Path.of("peers", "torch_gpu_kernels.py");

  /** Names there are partly made of numbers, so only the words are looked for. */
  @Test
  void pyTorchsSideHasEachKindOfCase() throws IOException {
    String peer = Files.readString(PEER);
    List<String> missing = new ArrayList<>();
    for (String name : GpuKernels.names()) {
      String kind = name.replaceFirst("_?\\d.*", "");
      if (!peer.contains(kind)) {
        missing.add(name);
      }
    }
    assertTrue(missing.isEmpty(), missing.toString());
  }
}
