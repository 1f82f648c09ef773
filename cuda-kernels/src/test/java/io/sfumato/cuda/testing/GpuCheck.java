// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import io.sfumato.cuda.CudaProvider;
import io.sfumato.cuda.driver.Gpu;

/**
 * A program that says in one line which GPU of this machine tests can use, or why they cannot, and
 * then exits with 2.
 */
public final class GpuCheck {
  private GpuCheck() {}

  /** Looks for one. */
  public static void main(String[] args) {
    String why = new CudaProvider().unavailable();
    if (why != null) {
      System.err.println("no test is run on a GPU, because " + why);
      System.exit(2);
    }
    Gpu gpu = Gpu.of(0);
    System.out.println(
        gpu.device()
            + ": "
            + gpu.name()
            + ", compute capability "
            + gpu.capability() / 10.0
            + ", driver for CUDA "
            + Gpu.driverVersion() / 1000
            + "."
            + Gpu.driverVersion() % 1000 / 10);
  }
}
