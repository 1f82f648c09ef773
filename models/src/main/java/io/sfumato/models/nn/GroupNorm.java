// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;

/** Group normalisation of [B, C, ...] with affine weight and bias [C]. */
public final class GroupNorm extends Layer {
  private final Parameter weight;
  private final Parameter bias;
  private final int groups;
  private final double eps;

  /**
   * A layer.
   *
   * @throws IllegalArgumentException if the channels do not divide into the groups
   */
  public GroupNorm(Weights weights, int groups, int channels, double eps) {
    super(weights);
    if (groups < 1 || channels % groups != 0) {
      throw new IllegalArgumentException(
          path() + ": channels must be divisible by groups; got " + channels + " and " + groups);
    }
    this.groups = groups;
    this.eps = eps;
    this.weight = parameter("weight", Shape.of(channels), Init.ones());
    this.bias = parameter("bias", Shape.of(channels), Init.zeros());
  }

  @Override
  protected Tensor forward(Tensor x) {
    return NN.groupNorm(x, groups, weight.value(), bias.value(), eps);
  }

  /** The normalisation followed by SiLU, in one op. */
  public Tensor callSilu(Tensor x) {
    return call(() -> NN.groupNormSilu(x, groups, weight.value(), bias.value(), eps));
  }
}
