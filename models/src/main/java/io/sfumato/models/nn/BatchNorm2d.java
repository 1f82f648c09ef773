// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Updates;

/**
 * Batch normalisation (Ioffe and Szegedy 2015) of [N, C, ...] with affine weight and bias [C],
 * PyTorch's nn.BatchNorm2d and its names: {@code weight}, {@code bias}, and the buffers {@code
 * running_mean}, {@code running_var}, {@code num_batches_tracked}.
 *
 * <p>Inside {@link Module#training} the statistics are the batch's, and the running ones follow
 * them; elsewhere they are the running ones, and nothing changes. A region that is computed twice
 * (gradient checkpointing) follows its statistics twice.
 */
public final class BatchNorm2d extends Layer {
  private final Parameter weight;
  private final Parameter bias;
  private final Parameter runningMean;
  private final Parameter runningVar;
  private final Parameter tracked;
  private final double eps;
  private final double momentum;

  /** A layer with PyTorch's eps 1e-5 and momentum 0.1. */
  public BatchNorm2d(Weights weights, int channels) {
    this(weights, channels, 1e-5, 0.1);
  }

  /**
   * A layer.
   *
   * @param channels C
   * @param eps added to the variance
   * @param momentum weight of a batch's statistics in the running ones
   */
  public BatchNorm2d(Weights weights, int channels, double eps, double momentum) {
    this(weights, channels, eps, momentum, Init.ones());
  }

  /** As before, with own initial values of the weight. */
  public BatchNorm2d(Weights weights, int channels, double eps, double momentum, Init weightInit) {
    super(weights);
    if (channels < 1 || !(eps >= 0) || !(momentum >= 0 && momentum <= 1)) {
      throw new IllegalArgumentException(
          path()
              + ": channels must be positive, eps not negative, momentum in [0, 1]; got "
              + channels
              + ", "
              + eps
              + ", "
              + momentum);
    }
    this.eps = eps;
    this.momentum = momentum;
    this.weight = parameter("weight", Shape.of(channels), weightInit);
    this.bias = parameter("bias", Shape.of(channels), Init.zeros());
    this.runningMean = buffer("running_mean", Shape.of(channels), Init.zeros());
    this.runningVar = buffer("running_var", Shape.of(channels), Init.ones());
    this.tracked =
        buffer(
            "num_batches_tracked", Shape.of(), (spec, rng) -> Tensor.zeros(spec.with(DType.I64)));
  }

  @Override
  protected Tensor forward(Tensor x) {
    boolean training = isTraining();
    Tensor y =
        NN.batchNorm(
            x,
            runningMean.value(),
            runningVar.value(),
            weight.value(),
            bias.value(),
            training,
            momentum,
            eps);
    if (training) {
      Updates.copy(tracked.value(), tracked.value().add(1));
    }
    return y;
  }
}
