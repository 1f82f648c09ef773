// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.autograd.Autograd;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Updates;
import java.util.List;

/**
 * Batch normalisation (Ioffe and Szegedy 2015) of [N, C, ...] with affine weight and bias [C],
 * PyTorch's nn.BatchNorm2d and its names: {@code weight}, {@code bias}, and the buffers {@code
 * running_mean}, {@code running_var}, {@code num_batches_tracked}.
 *
 * <p>Inside {@link Module#training} the statistics are the batch's, and the running ones follow
 * them; elsewhere they are the running ones, and nothing changes. Of several processes that train
 * together ({@link BatchShare}) each takes the statistics of the whole batch, as PyTorch's
 * SyncBatchNorm does. A region that is computed twice (gradient checkpointing) follows its
 * statistics twice.
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
    BatchShare share = BatchShare.current();
    Tensor y =
        training && share.count() > 1
            ? together(x, share)
            : NN.batchNorm(
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

  /** The same where others compute the rest of the batch: with the statistics of all of it. */
  private Tensor together(Tensor x, BatchShare share) {
    int[] axes = new int[x.rank() - 1]; // all but the channels
    int[] channels = new int[x.rank()];
    for (int i = 0; i < channels.length; i++) {
      channels[i] = i == 1 ? x.dim(1) : 1;
    }
    for (int i = 1; i < axes.length; i++) {
      axes[i] = i + 1;
    }
    DType wide = x.dtype().isHalf() ? DType.F32 : x.dtype();
    Tensor own = Num.cast(x, wide);
    Tensor mean = share.mean(Num.mean(own, axes)); // [C]
    Tensor centred = own.sub(mean.reshape(channels));
    Tensor var = share.mean(Num.mean(centred.square(), axes)); // [C]
    Tensor factor = Num.rsqrt(var.add(eps)).mul(Num.cast(weight.value(), wide));
    Tensor shift = Num.cast(bias.value(), wide).reshape(channels);
    Tensor y = centred.mul(factor.reshape(channels)).add(shift);
    double n = (double) share.count() * x.numel() / x.dim(1);
    Autograd.noGrad(
        () -> {
          follow(runningMean, Autograd.detach(mean));
          follow(runningVar, Autograd.detach(var).mul(n / (n - 1)));
          return this;
        });
    return Num.cast(y, x.dtype());
  }

  private void follow(Parameter running, Tensor value) {
    Tensor same = Num.cast(value, running.value().dtype());
    Updates.ema(List.of(running.value()), List.of(same), 1 - momentum);
  }
}
