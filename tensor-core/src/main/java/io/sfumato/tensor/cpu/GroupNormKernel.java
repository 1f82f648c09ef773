// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * Group normalisation (Wu and He 2018) with optional fused SiLU over contiguous f32 images, on all
 * threads. With {@code x̂ = (x - mean) rstd} per image and group, {@code y = act(x̂ weight +
 * bias)}. Statistics are computed in one or two passes per block that fits the cache and joined in
 * double; results do not depend on the number of threads. An address of 0 stands for an absent
 * weight or bias.
 */
public final class GroupNormKernel {
  private GroupNormKernel() {}

  /**
   * Sizes and options.
   *
   * @param batch the number of images
   * @param channels channels per image
   * @param spatial pixels per image
   * @param groups groups of consecutive channels; divides {@code channels}
   * @param silu whether SiLU follows
   */
  public record Problem(int batch, int channels, int spatial, int groups, boolean silu) {
    /** Checks that the groups divide the channels. */
    public Problem {
      if (groups < 1 || channels % groups != 0) {
        throw new IllegalArgumentException(
            "group_norm: groups must divide channels; got "
                + groups
                + " groups, "
                + channels
                + " channels");
      }
    }

    int perGroup() {
      return channels / groups;
    }

    /** The number of values that share a mean. */
    double count() {
      return (double) perGroup() * spatial;
    }
  }

  /**
   * Forward over channels-last images [batch, spatial, channels].
   *
   * @param x images
   * @param y result; may be the memory of x
   * @param weight weights [channels] or 0
   * @param bias biases [channels] or 0
   * @param mean means [batch, groups], written
   * @param rstd {@code 1 / sqrt(variance + epsilon)} [batch, groups], written
   * @param problem sizes and options
   * @param epsilon added to the variance
   */
  public static void forwardChannelsLast(
      long x,
      long y,
      long weight,
      long bias,
      long mean,
      long rstd,
      Problem problem,
      double epsilon) {
    new ChannelsLastGroupNorm(problem, x, weight, bias, mean, rstd).forward(y, epsilon);
  }

  /**
   * Backward over channels-last images.
   *
   * @param x images
   * @param dy gradient of the result
   * @param weight weights [channels] or 0
   * @param bias biases [channels] or 0
   * @param mean means, from the forward pass
   * @param rstd factors, from the forward pass
   * @param dx gradient of x; may be the memory of dy, not of x
   * @param dweight gradient of the weights [channels] or 0
   * @param dbias gradient of the biases [channels] or 0
   * @param problem sizes and options
   */
  public static void backwardChannelsLast(
      long x,
      long dy,
      long weight,
      long bias,
      long mean,
      long rstd,
      long dx,
      long dweight,
      long dbias,
      Problem problem) {
    new ChannelsLastGroupNorm(problem, x, weight, bias, mean, rstd)
        .backward(dy, dx, dweight, dbias);
  }

  /** As {@link #forwardChannelsLast}, over images [batch, channels, spatial]. */
  public static void forwardChannelsFirst(
      long x,
      long y,
      long weight,
      long bias,
      long mean,
      long rstd,
      Problem problem,
      double epsilon) {
    new ChannelsFirstGroupNorm(problem, x, weight, bias, mean, rstd).forward(y, epsilon);
  }

  /** As {@link #backwardChannelsLast}, over images [batch, channels, spatial]. */
  public static void backwardChannelsFirst(
      long x,
      long dy,
      long weight,
      long bias,
      long mean,
      long rstd,
      long dx,
      long dweight,
      long dbias,
      Problem problem) {
    new ChannelsFirstGroupNorm(problem, x, weight, bias, mean, rstd)
        .backward(dy, dx, dweight, dbias);
  }
}
