// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import org.jspecify.annotations.Nullable;

/** Group normalisation of [B, C, ...] with affine weight and bias [C]. */
public final class GroupNorm extends Norm {
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
  Parameter scale() {
    return weight;
  }

  @Override
  Parameter shift() {
    return bias;
  }

  @Override
  public Tensor compute(Tensor x, Tensor w, @Nullable Tensor b) {
    return NN.groupNorm(x, groups, w, b, eps);
  }

  /** The normalisation followed by SiLU, in one op where no adapter is between them. */
  public Tensor callSilu(Tensor x) {
    return call(
        () ->
            adapters().isEmpty()
                ? NN.groupNormSilu(x, groups, weight.value(), bias.value(), eps)
                : NN.silu(forward(x)));
  }
}
