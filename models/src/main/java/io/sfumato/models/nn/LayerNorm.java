// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import org.jspecify.annotations.Nullable;

/** Layer normalisation over the last axis, with or without affine weight and bias. */
public final class LayerNorm extends Norm {
  private final @Nullable Parameter weight;
  private final @Nullable Parameter bias;
  private final double eps;

  /** A layer over {@code width} values. */
  public LayerNorm(Weights weights, int width, double eps, boolean affine) {
    super(weights);
    this.eps = eps;
    this.weight = affine ? parameter("weight", Shape.of(width), Init.ones()) : null;
    this.bias = affine ? parameter("bias", Shape.of(width), Init.zeros()) : null;
  }

  @Override
  @Nullable Parameter scale() {
    return weight;
  }

  @Override
  @Nullable Parameter shift() {
    return bias;
  }

  @Override
  protected Tensor plain(Tensor x) {
    return NN.layerNorm(
        x, 1, weight == null ? null : weight.value(), bias == null ? null : bias.value(), eps);
  }

  @Override
  public Tensor compute(Tensor x, Tensor w, @Nullable Tensor b) {
    return NN.layerNorm(x, 1, w, b, eps);
  }
}
