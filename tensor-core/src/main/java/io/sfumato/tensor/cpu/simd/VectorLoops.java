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
import org.jspecify.annotations.Nullable;

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
  /**
   * @param assembled loops by machine code, or null
   */
  VectorLoops(@Nullable AssembledPasses assembled) {
    this(new VectorElementwiseLoops(), new VectorReduceLoops(), assembled);
  }

  private VectorLoops(
      ElementwiseLoops elementwise, ReduceLoops reduce, @Nullable AssembledPasses assembled) {
    this(
        elementwise,
        reduce,
        new VectorCastLoops(),
        new VectorRowLoops(reduce, assembled),
        new VectorChannelLoops(),
        new VectorAttentionLoops(),
        new VectorOptimizerLoops(assembled));
  }
}
