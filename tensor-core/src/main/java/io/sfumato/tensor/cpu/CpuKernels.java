// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.launch.Conv2dLaunch;
import io.sfumato.tensor.cpu.launch.Conv3dLaunch;
import io.sfumato.tensor.cpu.launch.LinearLaunch;
import io.sfumato.tensor.cpu.launch.MatMulLaunch;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.Conv2d;
import io.sfumato.tensor.ops.Conv2dBackwardInput;
import io.sfumato.tensor.ops.Conv2dBackwardWeight;
import io.sfumato.tensor.ops.Conv3d;
import io.sfumato.tensor.ops.Conv3dBackwardInput;
import io.sfumato.tensor.ops.Conv3dBackwardWeight;
import io.sfumato.tensor.ops.Linear;
import io.sfumato.tensor.ops.MatMul;

/** The fast kernels of the CPU, one line each. */
final class CpuKernels {
  private CpuKernels() {}

  static KernelTable table() {
    return new KernelTable()
        .add(MatMul.class, new MatMulLaunch())
        .add(Linear.class, new LinearLaunch())
        .add(Conv2d.class, new Conv2dLaunch.Forward())
        .add(Conv2dBackwardInput.class, new Conv2dLaunch.BackwardInput())
        .add(Conv2dBackwardWeight.class, new Conv2dLaunch.BackwardWeight())
        .add(Conv3d.class, new Conv3dLaunch.Forward())
        .add(Conv3dBackwardInput.class, new Conv3dLaunch.BackwardInput())
        .add(Conv3dBackwardWeight.class, new Conv3dLaunch.BackwardWeight());
  }
}
