// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * The innermost loops of the float32 kernels, by theme. Two sets exist: {@link ScalarLoops} in
 * plain Java, and one on the Vector API that is found by name. All take absolute addresses, run on
 * the calling thread and do not check their operands.
 */
public interface LeafLoops {
  /** Pointwise functions. */
  ElementwiseLoops elementwise();

  /** Sums, maxima, dot products. */
  ReduceLoops reduce();

  /** Conversions between float formats. */
  CastLoops casts();

  /** Softmax and normalisation of one row. */
  RowLoops rows();

  /** Per-channel statistics and maps of group normalisation. */
  ChannelLoops channels();

  /** The steps of attention between its matrix products. */
  AttentionLoops attention();

  /** Optimizer updates. */
  OptimizerLoops optimizer();
}
