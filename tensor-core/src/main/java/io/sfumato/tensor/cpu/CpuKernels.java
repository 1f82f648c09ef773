// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.exec.KernelTable;

/** The fast kernels of the CPU, one line each. */
final class CpuKernels {
  private CpuKernels() {}

  static KernelTable table() {
    return new KernelTable();
  }
}
