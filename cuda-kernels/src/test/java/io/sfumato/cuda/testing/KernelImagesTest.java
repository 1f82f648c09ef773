// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

class KernelImagesTest {
  @Test
  void theJarsKernelsAreMadeFromTheSources() throws IOException {
    assumeTrue(EmulatorControl.isEmulated(), "where tests run on a GPU the sources may be missing");
    KernelImages images = new KernelImages(EmulatorBuild.moduleFolder());
    List<KernelImages.Ptx> all = images.ptx();
    Path folder = all.getFirst().file().getParent();
    List<String> old = new ArrayList<>();
    for (KernelImages.Ptx ptx : all) {
      if (!images.isUpToDate(ptx)) {
        old.add(ptx.file().getFileName().toString());
      }
    }
    assertEquals(
        List.of(),
        old,
        "images that are missing or older than their sources; run"
            + " mvn -q -Pkernels -pl cuda-kernels -am test-compile (needs nvcc) and commit them");
    try (Stream<Path> files = Files.list(folder)) {
      assertEquals(all.size(), files.count(), "files without a source");
    }
    for (KernelImages.Ptx ptx : all) {
      List<String> lines = KernelImages.read(ptx.file()).lines().limit(40).toList();
      assertTrue(
          lines.contains(".version " + (ptx.arch().equals("80") ? "8.0" : "8.1")),
          ptx.file() + " needs a newer driver than 525, or than 530 for Hopper");
      assertTrue(lines.contains(".target sm_" + ptx.arch()), ptx.file().toString());
    }
  }
}
