// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/** {@link LeafLoops} in plain Java: the definition of each loop, with sums in double. */
record ScalarLoops(
    ElementwiseLoops elementwise,
    ReduceLoops reduce,
    CastLoops casts,
    RowLoops rows,
    ChannelLoops channels,
    AttentionLoops attention,
    OptimizerLoops optimizer)
    implements LeafLoops {
  ScalarLoops() {
    this(
        new ScalarElementwiseLoops(),
        new ScalarReduceLoops(),
        new ScalarCastLoops(),
        new ScalarRowLoops(),
        new ScalarChannelLoops(),
        new ScalarAttentionLoops(),
        new ScalarOptimizerLoops());
  }
}
