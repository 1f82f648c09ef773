// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import io.sfumato.tensor.cpu.AttentionLoops;
import io.sfumato.tensor.cpu.CastLoops;
import io.sfumato.tensor.cpu.ChannelLoops;
import io.sfumato.tensor.cpu.ElementwiseLoops;
import io.sfumato.tensor.cpu.LeafLoops;
import io.sfumato.tensor.cpu.OptimizerLoops;
import io.sfumato.tensor.cpu.ReduceLoops;
import io.sfumato.tensor.cpu.RowLoops;

/** {@link LeafLoops} over the Vector API. */
record VectorLoops(
    ElementwiseLoops elementwise,
    ReduceLoops reduce,
    CastLoops casts,
    RowLoops rows,
    ChannelLoops channels,
    AttentionLoops attention,
    OptimizerLoops optimizer)
    implements LeafLoops {
  VectorLoops() {
    this(new VectorElementwiseLoops(), new VectorReduceLoops());
  }

  private VectorLoops(ElementwiseLoops elementwise, ReduceLoops reduce) {
    this(
        elementwise,
        reduce,
        new VectorCastLoops(),
        new VectorRowLoops(reduce),
        new VectorChannelLoops(),
        new VectorAttentionLoops(),
        new VectorOptimizerLoops());
  }
}
