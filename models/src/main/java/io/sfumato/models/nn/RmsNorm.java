// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;

/** Root-mean-square normalisation over the last axis with a weight [width]. */
public final class RmsNorm extends Layer {
  private final Parameter weight;
  private final double eps;

  /** A layer over {@code width} values. */
  public RmsNorm(Weights weights, int width, double eps) {
    super(weights);
    this.eps = eps;
    this.weight = parameter("weight", Shape.of(width), Init.ones());
  }

  @Override
  protected Tensor forward(Tensor x) {
    return NN.rmsNorm(x, weight.value(), eps);
  }
}
