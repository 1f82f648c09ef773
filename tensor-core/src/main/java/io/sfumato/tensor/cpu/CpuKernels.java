// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.launch.AttentionLaunch;
import io.sfumato.tensor.cpu.launch.Conv2dLaunch;
import io.sfumato.tensor.cpu.launch.Conv3dLaunch;
import io.sfumato.tensor.cpu.launch.GatedNormLaunch;
import io.sfumato.tensor.cpu.launch.GroupNormLaunch;
import io.sfumato.tensor.cpu.launch.HadamardLaunch;
import io.sfumato.tensor.cpu.launch.LayerNormLaunch;
import io.sfumato.tensor.cpu.launch.LinearLaunch;
import io.sfumato.tensor.cpu.launch.LowRankLaunch;
import io.sfumato.tensor.cpu.launch.MatMulLaunch;
import io.sfumato.tensor.cpu.launch.NearestCodeLaunch;
import io.sfumato.tensor.cpu.launch.PointwiseKernels;
import io.sfumato.tensor.cpu.launch.QuantizedLaunch;
import io.sfumato.tensor.cpu.launch.ShapingKernels;
import io.sfumato.tensor.cpu.launch.UpsampleConvLaunch;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.Attention;
import io.sfumato.tensor.ops.Conv2d;
import io.sfumato.tensor.ops.Conv2dBackwardInput;
import io.sfumato.tensor.ops.Conv2dBackwardWeight;
import io.sfumato.tensor.ops.Conv3d;
import io.sfumato.tensor.ops.Conv3dBackwardInput;
import io.sfumato.tensor.ops.Conv3dBackwardWeight;
import io.sfumato.tensor.ops.GatedResidualNorm;
import io.sfumato.tensor.ops.GatedResidualNormBackward;
import io.sfumato.tensor.ops.GroupNorm;
import io.sfumato.tensor.ops.GroupNormBackward;
import io.sfumato.tensor.ops.HadamardLowRank;
import io.sfumato.tensor.ops.HadamardLowRankGradients;
import io.sfumato.tensor.ops.LayerNorm;
import io.sfumato.tensor.ops.LayerNormBackward;
import io.sfumato.tensor.ops.LayerNormModulate;
import io.sfumato.tensor.ops.LayerNormModulateBackward;
import io.sfumato.tensor.ops.Linear;
import io.sfumato.tensor.ops.LowRank;
import io.sfumato.tensor.ops.LowRankGradients;
import io.sfumato.tensor.ops.MatMul;
import io.sfumato.tensor.ops.NearestCode;
import io.sfumato.tensor.ops.RmsNorm;
import io.sfumato.tensor.ops.RmsNormBackward;
import io.sfumato.tensor.ops.UpsampleConv2d;
import io.sfumato.tensor.ops.UpsampleConv2dBackwardWeight;

/** The fast kernels of the CPU, one line each. */
final class CpuKernels {
  private CpuKernels() {}

  static KernelTable table() {
    KernelTable table = QuantizedLaunch.addTo(new KernelTable());
    return ShapingKernels.addTo(PointwiseKernels.addTo(table))
        .add(MatMul.class, new MatMulLaunch())
        .add(Linear.class, new LinearLaunch())
        .add(LowRank.class, new LowRankLaunch.Forward())
        .add(LowRankGradients.class, new LowRankLaunch.Gradients())
        .add(HadamardLowRank.class, new HadamardLaunch.Forward())
        .add(HadamardLowRankGradients.class, new HadamardLaunch.Gradients())
        .add(NearestCode.class, new NearestCodeLaunch())
        .add(Conv2d.class, new Conv2dLaunch.Forward())
        .add(Conv2dBackwardInput.class, new Conv2dLaunch.BackwardInput())
        .add(UpsampleConv2d.class, new UpsampleConvLaunch.Forward())
        .add(UpsampleConv2dBackwardWeight.class, new UpsampleConvLaunch.BackwardWeight())
        .add(Conv2dBackwardWeight.class, new Conv2dLaunch.BackwardWeight())
        .add(Conv3d.class, new Conv3dLaunch.Forward())
        .add(Conv3dBackwardInput.class, new Conv3dLaunch.BackwardInput())
        .add(Conv3dBackwardWeight.class, new Conv3dLaunch.BackwardWeight())
        .add(GroupNorm.class, new GroupNormLaunch.Forward())
        .add(GroupNormBackward.class, new GroupNormLaunch.Backward())
        .add(LayerNorm.class, new LayerNormLaunch.Forward())
        .add(LayerNormBackward.class, new LayerNormLaunch.Backward())
        .add(LayerNormModulate.class, new LayerNormLaunch.Modulate())
        .add(LayerNormModulateBackward.class, new LayerNormLaunch.ModulateBackward())
        .add(GatedResidualNorm.class, new GatedNormLaunch.Forward())
        .add(GatedResidualNormBackward.class, new GatedNormLaunch.Backward())
        .add(RmsNorm.class, new LayerNormLaunch.Rms())
        .add(RmsNormBackward.class, new LayerNormLaunch.RmsBackward())
        .add(Attention.class, new AttentionLaunch.Forward())
        .add(io.sfumato.tensor.ops.AttentionBackward.class, new AttentionLaunch.Backward());
  }
}
