// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;

/** How a fresh parameter gets its first values. */
@FunctionalInterface
public interface Init {
  /**
   * Makes a tensor in the current scope.
   *
   * @param spec shape, type and device
   * @param rng the source of randomness, of this parameter alone
   */
  Tensor create(TensorSpec spec, Rng rng);

  /** All zero. */
  static Init zeros() {
    return (spec, rng) -> Tensor.zeros(spec);
  }

  /** All one. */
  static Init ones() {
    return (spec, rng) -> Tensor.full(spec, 1);
  }

  /** All {@code value}. */
  static Init constant(double value) {
    return (spec, rng) -> Tensor.full(spec, value);
  }

  /** Normal with mean 0 and standard deviation {@code std}. */
  static Init normal(double std) {
    return (spec, rng) -> rng.normal(wide(spec)).mul(std).to(spec.dtype());
  }

  /** Uniform on [-bound, bound). */
  static Init uniform(double bound) {
    return (spec, rng) -> rng.uniform(wide(spec)).mul(2 * bound).sub(bound).to(spec.dtype());
  }

  /** Values are drawn and scaled in F32 at least, and rounded once. */
  private static TensorSpec wide(TensorSpec spec) {
    return spec.with(spec.dtype().accumulator());
  }

  /**
   * PyTorch's default of linear and convolution layers, for weight and bias alike: uniform on
   * ±1/√fanIn (that is kaiming_uniform with a = √5 for the weight).
   *
   * @param fanIn inputs of one output: {@code in}, or {@code in/groups · kh · kw}
   */
  static Init fanIn(long fanIn) {
    return uniform(fanIn == 0 ? 0 : 1 / Math.sqrt(fanIn));
  }

  /**
   * Glorot's uniform: bound √(6 / (fanIn + fanOut)), on the weight seen as [out, everything else].
   */
  static Init xavierUniform() {
    return (spec, rng) -> {
      Shape s = spec.shape();
      double out = s.dim(0);
      double in = (double) s.numel() / Math.max(1, s.dim(0));
      return uniform(Math.sqrt(6 / (in + out))).create(spec, rng);
    };
  }
}
