// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.driver;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.cuda.testing.EmulatorControl;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class KernelModulesTest {
  private static final String FAMILY = "attention_backward_bf16"; // has PTX for Hopper

  @Test
  void onlyPtxThatTheDriverDoesNotKnowIsReplaced(@TempDir Path empty) {
    assumeTrue(EmulatorControl.isEmulated(), "the emulated driver takes no PTX");
    Gpu.of(0).enter();
    String images = System.setProperty(KernelModules.IMAGES, empty.toString());
    try {
      KernelModules modules = new KernelModules(90, 1 << 17);
      EmulatorControl.set("fail_load", 1);
      assertEquals(CudaException.OUT_OF_MEMORY, code(modules), "Hopper's, which may load later");
      EmulatorControl.set("fail_load", 2);
      assertEquals(CudaException.OUT_OF_MEMORY, code(modules), "that for all devices");
    } finally {
      EmulatorControl.set("fail_load", 0);
      System.setProperty(KernelModules.IMAGES, images);
    }
  }

  private static int code(KernelModules modules) {
    return assertThrows(CudaException.class, () -> modules.function(FAMILY, "none")).code();
  }
}
