// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.driver;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.cuda.testing.Logged;
import io.sfumato.tensor.DeviceException;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class KernelModulesTest {
  private static final String FAMILY = "attention_backward_bf16"; // has PTX for Hopper

  @Test
  void onlyPtxThatTheDriverDoesNotKnowIsReplaced(@TempDir Path empty) {
    onHopperWithoutImages(
        empty,
        modules -> {
          EmulatorControl.set("fail_load", 1);
          assertEquals(
              CudaException.OUT_OF_MEMORY, code(modules), "Hopper's, which may load later");
          EmulatorControl.set("fail_load", 2);
          assertEquals(CudaException.OUT_OF_MEMORY, code(modules), "that for all devices");
        });
  }

  /** The emulated driver takes no PTX at all, and says so as an old one does of a late version. */
  @Test
  void aDriverThatDoesNotKnowHoppersPtxGetsThatForAllDevicesAndOneLineSaysSo(@TempDir Path empty) {
    onHopperWithoutImages(
        empty,
        modules -> {
          List<String> log =
              Logged.by(
                  KernelModules.class,
                  () -> {
                    assertEquals(200, code(modules));
                    EmulatorControl.set("fail_load", 1); // the next load is that for all devices
                    assertEquals(CudaException.OUT_OF_MEMORY, code(modules));
                  });
          assertEquals(1, log.size(), log + "");
          String start =
              "WARNING PTX for all devices is used instead of Hopper's: cuModuleLoadDataEx";
          assertTrue(log.getFirst().startsWith(start), log + "");
          for (int i = 0; i < 2; i++) {
            DeviceException e =
                assertThrows(
                    DeviceException.class, () -> modules.function("gemm_hopper_bf16", "none"));
            String said = e.getMessage();
            assertTrue(
                said.contains("the kernels gemm_hopper_bf16, which are for Hopper alone"), said);
            assertTrue(said.contains("start Java with -Dsfumato.cuda.wgmma=off"), said);
          }
        });
  }

  /** Modules of a Hopper that has PTX alone; the emulated driver may be told to fail meanwhile. */
  private static void onHopperWithoutImages(Path empty, Consumer<KernelModules> body) {
    assumeTrue(EmulatorControl.isEmulated(), "the emulated driver takes no PTX");
    Gpu.of(0).enter();
    String images = System.setProperty(KernelModules.IMAGES, empty.toString());
    try {
      body.accept(new KernelModules(90, 1 << 17));
    } finally {
      EmulatorControl.set("fail_load", 0);
      System.setProperty(KernelModules.IMAGES, images);
    }
  }

  private static int code(KernelModules modules) {
    return assertThrows(CudaException.class, () -> modules.function(FAMILY, "none")).code();
  }
}
