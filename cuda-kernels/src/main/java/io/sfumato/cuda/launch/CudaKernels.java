// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.tensor.exec.KernelTable;

/** The kernels of the backend, one line per family. */
public final class CudaKernels {
  private CudaKernels() {}

  /** A new table of all of them. */
  public static KernelTable table() {
    KernelTable table = new KernelTable();
    CopyLaunch.addTo(table);
    MatMulLaunch.addTo(table);
    LowRankLaunch.addTo(table);
    HadamardLaunch.addTo(table);
    QuantizedLaunch.addTo(table);
    AttentionLaunch.addTo(table);
    WideAttention.addTo(table); // what is left
    ConvLaunch.addTo(table);
    ReduceLaunch.addTo(table);
    ProductLaunch.addTo(table);
    SoftmaxLaunch.addTo(table);
    LossLaunch.addTo(table);
    UpdateLaunch.addTo(table);
    IndexLaunch.addTo(table);
    SortLaunch.addTo(table);
    CodesLaunch.addTo(table);
    InverseLaunch.addTo(table);
    ResampleLaunch.addTo(table);
    UpsampleConvLaunch.addTo(table);
    ElementwiseLaunch.addTo(table);
    ChoiceLaunch.addTo(table);
    GatedLaunch.addTo(table);
    GatedUnitLaunch.addTo(table);
    ShapingLaunch.addTo(table);
    RandomLaunch.addTo(table);
    LayerNormLaunch.addTo(table);
    GroupNormLaunch.addTo(table);
    GatedNormLaunch.addTo(table);
    return table;
  }
}
