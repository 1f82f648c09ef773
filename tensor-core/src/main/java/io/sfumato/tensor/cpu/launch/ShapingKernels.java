// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.AdaptiveAvgPool2d;
import io.sfumato.tensor.ops.AvgPool2d;
import io.sfumato.tensor.ops.Concat;
import io.sfumato.tensor.ops.Dropout;
import io.sfumato.tensor.ops.Flip;
import io.sfumato.tensor.ops.Gather;
import io.sfumato.tensor.ops.IndexAdd;
import io.sfumato.tensor.ops.IndexSelect;
import io.sfumato.tensor.ops.MaxPool2d;
import io.sfumato.tensor.ops.Pad;
import io.sfumato.tensor.ops.PadBackward;
import io.sfumato.tensor.ops.RandomFill;
import io.sfumato.tensor.ops.RandomIntegers;
import io.sfumato.tensor.ops.ResampleBackward;
import io.sfumato.tensor.ops.Roll;
import io.sfumato.tensor.ops.ScatterAdd;
import io.sfumato.tensor.ops.SliceScatter;
import io.sfumato.tensor.ops.UpsampleBilinear;
import io.sfumato.tensor.ops.UpsampleNearest;

/** The kernels of joins, moves, lookups, resampling and random numbers. */
public final class ShapingKernels {
  private ShapingKernels() {}

  /** Adds them to a table. */
  public static KernelTable addTo(KernelTable table) {
    return table
        .add(Concat.class, ShapingLaunch.concat())
        .add(SliceScatter.class, ShapingLaunch.sliceScatter())
        .add(Flip.class, ShapingLaunch.axisCopy())
        .add(Roll.class, ShapingLaunch.axisCopy())
        .add(Pad.class, ShapingLaunch.axisCopy())
        .add(PadBackward.class, new ResamplingLaunch.Padding())
        .add(IndexSelect.class, ShapingLaunch.indexSelect())
        .add(IndexAdd.class, new GatherLaunch.Add())
        .add(Gather.class, GatherLaunch.gather())
        .add(ScatterAdd.class, new GatherLaunch.Scatter())
        .add(UpsampleNearest.class, ResamplingLaunch.nearest())
        .add(UpsampleBilinear.class, new ResamplingLaunch.Forward())
        .add(AvgPool2d.class, new ResamplingLaunch.Forward())
        .add(AdaptiveAvgPool2d.class, new ResamplingLaunch.Forward())
        .add(ResampleBackward.class, new ResamplingLaunch.Backward())
        .add(MaxPool2d.class, new ResamplingLaunch.Maximum())
        .add(RandomFill.class, new RandomLaunch.Fill())
        .add(RandomIntegers.class, RandomLaunch.integers())
        .add(Dropout.class, new RandomLaunch.Drop());
  }
}
