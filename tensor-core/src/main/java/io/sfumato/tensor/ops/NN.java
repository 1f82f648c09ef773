// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Executor;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Layers as functions: products with weights, convolutions, normalisations, attention. The names
 * are those of {@code torch.nn.functional}; weights have PyTorch's shapes. All tensors of a call
 * have one floating type, statistics are kept in f32 (f64 for f64). Every function throws {@link
 * io.sfumato.tensor.ShapeException} or {@link io.sfumato.tensor.DTypeException} with the
 * requirement that was not met.
 */
public final class NN extends Losses {
  private NN() {}

  // ---- products

  /**
   * {@code y = x Wᵀ + b}.
   *
   * @param x [..., in]
   * @param weight [out, in]
   * @param bias [out], or null
   * @return [..., out]
   */
  public static Tensor linear(Tensor x, Tensor weight, @Nullable Tensor bias) {
    return bias == null
        ? Executor.run(new Linear(false), x, weight)
        : Executor.run(new Linear(true), x, weight, bias);
  }

  /**
   * {@code y = x (W + s B A)ᵀ + b}: a linear layer whose weight has a change of low rank, as LoRA
   * makes it. A gradient of W costs nothing where none is wanted.
   *
   * @param x [..., in]
   * @param weight [out, in]
   * @param bias [out], or null
   * @param a the factor A [r, in]
   * @param b the factor B [out, r]
   * @param scale the factor s
   * @return [..., out]
   */
  public static Tensor lowRank(
      Tensor x, Tensor weight, @Nullable Tensor bias, Tensor a, Tensor b, double scale) {
    return bias == null
        ? Executor.run(new LowRank(scale, false), x, weight, a, b)
        : Executor.run(new LowRank(scale, true), x, weight, a, b, bias);
  }

  // ---- convolutions

  /**
   * Convolution (cross-correlation) over one dimension.
   *
   * @param x [N, in, L]
   * @param weight [out, in / groups, k]
   * @param bias [out], or null
   * @return [N, out, L'], channels-last in memory
   */
  public static Tensor conv1d(Tensor x, Tensor weight, @Nullable Tensor bias, ConvOptions options) {
    return Convolutions.conv1d(x, weight, bias, options);
  }

  /**
   * Convolution (cross-correlation) over images.
   *
   * @param x [N, in, H, W]; channels-last in memory is fastest
   * @param weight [out, in / groups, kh, kw]
   * @param bias [out], or null
   * @return [N, out, H', W'], channels-last in memory
   */
  public static Tensor conv2d(Tensor x, Tensor weight, @Nullable Tensor bias, ConvOptions options) {
    return Convolutions.conv2d(x, weight, bias, options);
  }

  /**
   * Convolution (cross-correlation) over volumes.
   *
   * @param x [N, in, D, H, W]; channels-last in memory is fastest
   * @param weight [out, in / groups, kd, kh, kw]
   * @param bias [out], or null
   * @return [N, out, D', H', W'], channels-last in memory
   */
  public static Tensor conv3d(Tensor x, Tensor weight, @Nullable Tensor bias, ConvOptions options) {
    return Convolutions.conv3d(x, weight, bias, options);
  }

  /**
   * Transposed convolution over images, the adjoint of {@link #conv2d}: {@code H' = (H - 1) stride
   * - top - bottom + dilation (kh - 1) + outputPadding + 1}.
   *
   * @param x [N, in, H, W]
   * @param weight [in, out / groups, kh, kw]
   * @param bias [out], or null
   * @return [N, out, H', W'], channels-last in memory
   */
  public static Tensor convTranspose2d(
      Tensor x, Tensor weight, @Nullable Tensor bias, ConvOptions options) {
    return Convolutions.convTranspose2d(x, weight, bias, options);
  }

  // ---- normalisations

  /**
   * Group normalisation (Wu and He 2018): {@code y = (x - mean) / sqrt(var + eps) w + b} with mean
   * and biased variance over the channels of a group and all positions of one sample.
   *
   * @param x [N, C, ...]; a channels-last input of rank 4 gives a channels-last output
   * @param groups a divisor of C
   * @param weight [C], or null
   * @param bias [C], or null
   * @param eps added to the variance
   * @return the shape of {@code x}
   */
  public static Tensor groupNorm(
      Tensor x, int groups, @Nullable Tensor weight, @Nullable Tensor bias, double eps) {
    return Norms.groupNorm(x, groups, weight, bias, eps, false);
  }

  /** {@link #groupNorm} followed by {@code silu(y) = y sigmoid(y)}, in one pass. */
  public static Tensor groupNormSilu(
      Tensor x, int groups, @Nullable Tensor weight, @Nullable Tensor bias, double eps) {
    return Norms.groupNorm(x, groups, weight, bias, eps, true);
  }

  /**
   * Layer normalisation (Ba et al. 2016): {@code y = (x - mean) / sqrt(var + eps) w + b} with mean
   * and biased variance over the last dimensions.
   *
   * @param x any shape
   * @param normalizedDims the number of last dimensions that are normalised together, at least 1
   * @param weight the shape of those dimensions, or null
   * @param bias the shape of those dimensions, or null
   * @param eps added to the variance
   * @return the shape of {@code x}
   */
  public static Tensor layerNorm(
      Tensor x, int normalizedDims, @Nullable Tensor weight, @Nullable Tensor bias, double eps) {
    return Norms.layerNorm(x, normalizedDims, weight, bias, eps);
  }

  /**
   * Adaptive layer normalisation (Peebles and Xie 2023): {@code y = (x - mean) / sqrt(var + eps) (1
   * + scale) + shift}, the same shift and scale for all tokens of a sample.
   *
   * @param x [B, N, D]
   * @param shift [B, D]
   * @param scale [B, D]
   * @param eps added to the variance
   * @return [B, N, D]
   */
  public static Tensor layerNormModulate(Tensor x, Tensor shift, Tensor scale, double eps) {
    return Executor.run(new LayerNormModulate(eps), x, shift, scale);
  }

  /** {@code x + gate h} (Peebles and Xie 2023): x, h [B, N, D], gate [B, D] for all tokens. */
  public static Tensor gatedResidual(Tensor x, Tensor h, Tensor gate) {
    return Executor.run(new GatedResidual(), Shaping.promoted(x, h, gate));
  }

  /** {@link #gatedResidual}, and {@link #layerNormModulate} of the sum, in one pass. */
  public static GatedResidualNorm.Result gatedResidualNorm(
      Tensor x, Tensor h, Tensor gate, Tensor shift, Tensor scale, double eps) {
    Tensor[] in = Shaping.promoted(x, h, gate, shift, scale);
    Tensor[] z = Executor.current().execute(new GatedResidualNorm(eps), in);
    return new GatedResidualNorm.Result(z[1], z[0]);
  }

  /**
   * Root-mean-square normalisation (Zhang and Sennrich 2019): {@code y = x / sqrt(mean(x²) + eps)
   * w} over the last dimension.
   *
   * @param x [..., D]
   * @param weight [D], or null
   * @param eps added to the mean square
   * @return the shape of {@code x}
   */
  public static Tensor rmsNorm(Tensor x, @Nullable Tensor weight, double eps) {
    return weight == null
        ? Executor.run(new RmsNorm(eps, false), x)
        : Executor.run(new RmsNorm(eps, true), x, weight);
  }

  /**
   * Batch normalisation (Ioffe and Szegedy 2015): {@code y = (x - mean) / sqrt(var + eps) w + b}
   * per channel. While training, mean and biased variance are the batch's (it is {@link GroupNorm}
   * of the batch as one image), and the running ones follow in place, {@code running = (1 -
   * momentum) running + momentum batch}, with the unbiased variance; else these are used.
   *
   * @param x [N, C, ...]
   * @param runningMean [C]
   * @param runningVar [C]
   * @param weight [C], or null
   * @param bias [C], or null
   * @param training whether statistics are the batch's
   * @param momentum weight of the new statistics
   * @param eps added to the variance
   * @return the shape of {@code x}
   */
  public static Tensor batchNorm(
      Tensor x,
      Tensor runningMean,
      Tensor runningVar,
      @Nullable Tensor weight,
      @Nullable Tensor bias,
      boolean training,
      double momentum,
      double eps) {
    return Norms.batchNorm(x, runningMean, runningVar, weight, bias, training, momentum, eps);
  }

  // ---- attention

  /**
   * {@code softmax(scale q kᵀ + mask) v} for each head, without the matrix of products in memory. A
   * query that may see no key gives 0.
   *
   * @param q [B, H, Lq, D]; slices of a fused product are taken as they are
   * @param k [B, H, Lk, D]
   * @param v [B, H, Lk, Dv]
   * @param options scale, causality, mask
   * @return [B, H, Lq, Dv], in memory [B, Lq, H, Dv], so that {@code permute(0, 2, 1, 3).reshape(B,
   *     Lq, H * Dv)} is a view
   */
  public static Tensor attention(Tensor q, Tensor k, Tensor v, AttentionOptions options) {
    return Attentions.attention(q, k, v, options);
  }

  // ---- activations (losses are in Losses)

  /** The logistic function {@code σ(x) = 1 / (1 + e^-x)}. */
  public static Tensor sigmoid(Tensor x) {
    return Num.unary(Unary.Kind.SIGMOID, x);
  }

  /** {@code x σ(x)}, also called swish (Ramachandran et al. 2017). */
  public static Tensor silu(Tensor x) {
    return Num.unary(Unary.Kind.SILU, x);
  }

  /** {@code x Φ(x)} with the normal distribution function (Hendrycks and Gimpel 2016). */
  public static Tensor gelu(Tensor x) {
    return Num.unary(Unary.Kind.GELU, x);
  }

  /** {@code x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))}, PyTorch's gelu with approximate="tanh". */
  public static Tensor geluTanh(Tensor x) {
    return Num.unary(Unary.Kind.GELU_TANH, x);
  }

  /** {@code a f(b)} with the halves a, b of the last axis: GEGLU, SwiGLU (Shazeer 2020). */
  public static Tensor gatedUnit(GatedUnit.Kind kind, Tensor x) {
    return Executor.run(new GatedUnit(kind), x);
  }

  /** {@code max(x, 0)}; gradient 0 at 0. */
  public static Tensor relu(Tensor x) {
    return Num.unary(Unary.Kind.RELU, x);
  }

  /** {@code x} where it is positive, else {@code slope x}. */
  public static Tensor leakyRelu(Tensor x, double slope) {
    return Executor.run(new LeakyRelu(slope), x);
  }

  /** {@code x} where it is positive, else {@code alpha (e^x - 1)} (Clevert et al. 2016). */
  public static Tensor elu(Tensor x, double alpha) {
    return Executor.run(new Elu(alpha), x);
  }

  /** {@code log(1 + e^x)} without overflow. */
  public static Tensor softplus(Tensor x) {
    return softplus(x, 1, 20);
  }

  /** {@code log(1 + e^(beta x)) / beta}, and x itself where {@code beta x > threshold}. */
  public static Tensor softplus(Tensor x, double beta, double threshold) {
    return Executor.run(new Softplus(beta, threshold), x);
  }

  /** {@code e^x / Σ e^x} along an axis. */
  public static Tensor softmax(Tensor x, int axis) {
    return Executor.run(new Softmax(axis), x);
  }

  /** {@code x - log Σ e^x} along an axis. */
  public static Tensor logSoftmax(Tensor x, int axis) {
    return Executor.run(new LogSoftmax(axis), x);
  }

  // ---- codebooks, pooling, resampling, dropout

  /**
   * Rows of a table.
   *
   * @param indices any shape, I64 or I32
   * @param table [n, d]
   * @return the shape of {@code indices}, then d
   * @throws io.sfumato.tensor.ShapeException if an index is not in [0, n)
   */
  public static Tensor embedding(Tensor indices, Tensor table) {
    if (table.rank() != 2) {
      throw new ShapeException("embedding: the table must have rank 2; got " + table.spec());
    }
    Tensor rows =
        Shaping.indexSelect(table, 0, Shaping.reshape(indices, Shape.of((int) indices.numel())));
    return Shaping.reshape(rows, indices.shape().insert(indices.rank(), table.dim(1)));
  }

  /**
   * Vector quantisation: for each vector the code at the least Euclidean distance. A constant for
   * differentiation.
   *
   * @param x vectors [..., D]
   * @param codebook codes [K, D]
   * @return [...], numbers of codes as I64; of several codes at one distance, the least
   */
  public static Tensor nearestCode(Tensor x, Tensor codebook) {
    return Executor.run(new NearestCode(), x, codebook);
  }

  /**
   * Enlarges every spatial axis by repeating elements.
   *
   * @param x [N, C, ...] with one to three spatial axes; channels-last stays so
   * @param factor the number of repetitions
   * @return [N, C, ...] with spatial sizes times {@code factor}
   */
  public static Tensor upsampleNearest(Tensor x, int factor) {
    return Resampling.apply(
        new UpsampleNearest(IntStream.range(2, x.rank()).mapToObj(i -> x.dim(i) * factor).toList()),
        x);
  }

  /**
   * Takes the nearest element at or before each position, PyTorch's interpolate with
   * mode="nearest".
   *
   * @param x [N, C, H, W]; channels-last stays so
   * @return [N, C, {@code height}, {@code width}]
   */
  public static Tensor upsampleNearest(Tensor x, int height, int width) {
    return Resampling.apply(new UpsampleNearest(List.of(height, width)), x);
  }

  /** As {@link #upsampleNearest(Tensor, int, int)}, for any number of spatial axes. */
  public static Tensor upsampleNearest(Tensor x, int[] size) {
    return Resampling.apply(new UpsampleNearest(IntStream.of(size).boxed().toList()), x);
  }

  /**
   * Bilinear interpolation, PyTorch's interpolate with mode="bilinear".
   *
   * @param x [N, C, H, W]; channels-last stays so
   * @param alignCorners whether the centres of the corner pixels coincide, else their outer corners
   * @return [N, C, {@code height}, {@code width}]
   */
  public static Tensor upsampleBilinear(Tensor x, int height, int width, boolean alignCorners) {
    return Resampling.apply(new UpsampleBilinear(List.of(height, width), alignCorners), x);
  }

  /** Means over square windows of side {@code kernel}, without padding; x is [N, C, H, W]. */
  public static Tensor avgPool2d(Tensor x, int kernel, int stride) {
    return avgPool2d(x, pair(kernel), pair(stride), pair(0), true);
  }

  /**
   * Means over windows, {@code H' = floor((H + 2 padding - kernel) / stride) + 1}.
   *
   * @param x [N, C, H, W]; channels-last stays so
   * @param kernel height and width of a window
   * @param stride distances of the windows
   * @param padding zeros on both sides of each axis
   * @param countIncludePad whether they count in the divisor
   * @return [N, C, H', W']
   */
  public static Tensor avgPool2d(
      Tensor x, int[] kernel, int[] stride, int[] padding, boolean countIncludePad) {
    return Resampling.apply(
        new AvgPool2d(
            pair("kernel", kernel),
            pair("stride", stride),
            pair("padding", padding),
            countIncludePad),
        x);
  }

  /**
   * Means over windows that divide the input evenly.
   *
   * @param x [N, C, H, W]; channels-last stays so
   * @return [N, C, {@code height}, {@code width}]
   */
  public static Tensor adaptiveAvgPool2d(Tensor x, int height, int width) {
    return Resampling.apply(new AdaptiveAvgPool2d(List.of(height, width)), x);
  }

  /**
   * The largest elements of square windows without padding.
   *
   * @param x [N, C, H, W]; channels-last stays so
   * @param kernel side of a window
   * @param stride distance of the windows
   */
  public static Tensor maxPool2d(Tensor x, int kernel, int stride) {
    return maxPool2d(x, pair(kernel), pair(stride), pair(0), pair(1));
  }

  /**
   * The largest elements of windows, {@code H' = floor((H + 2 padding - dilation (kernel - 1) - 1)
   * / stride) + 1}; padding is never chosen.
   *
   * @param x [N, C, H, W]; channels-last stays so
   * @param kernel height and width of a window
   * @param stride distances of the windows
   * @param padding added on both sides of each axis
   * @param dilation distances of the elements of a window
   * @return [N, C, H', W']
   */
  public static Tensor maxPool2d(
      Tensor x, int[] kernel, int[] stride, int[] padding, int[] dilation) {
    MaxPool2d op =
        new MaxPool2d(
            pair("kernel", kernel),
            pair("stride", stride),
            pair("padding", padding),
            pair("dilation", dilation));
    return Executor.current().execute(op, x)[0];
  }

  /**
   * Channels turned into pixels (Shi et al. 2016).
   *
   * @param x [N, C r², H, W]
   * @return [N, C, H r, W r]
   */
  public static Tensor pixelShuffle(Tensor x, int r) {
    if (x.rank() != 4 || r < 1 || x.dim(1) % (r * r) != 0) {
      throw new ShapeException(
          "pixelShuffle: the input must be [N, C r², H, W] with r = " + r + "; got " + x.spec());
    }
    int c = x.dim(1) / (r * r);
    return x.reshape(x.dim(0), c, r, r, x.dim(2), x.dim(3))
        .permute(0, 1, 4, 2, 5, 3)
        .reshape(x.dim(0), c, x.dim(2) * r, x.dim(3) * r);
  }

  /**
   * Pixels turned into channels, the inverse of {@link #pixelShuffle}.
   *
   * @param x [N, C, H r, W r]
   * @return [N, C r², H, W]
   */
  public static Tensor pixelUnshuffle(Tensor x, int r) {
    if (x.rank() != 4 || r < 1 || x.dim(2) % r != 0 || x.dim(3) % r != 0) {
      throw new ShapeException(
          "pixelUnshuffle: the input must be [N, C, H r, W r] with r = " + r + "; got " + x.spec());
    }
    int h = x.dim(2) / r;
    int w = x.dim(3) / r;
    return x.reshape(x.dim(0), x.dim(1), h, r, w, r)
        .permute(0, 1, 3, 5, 2, 4)
        .reshape(x.dim(0), x.dim(1) * r * r, h, w);
  }

  /**
   * Zero with probability p, else {@code x / (1 - p)} (Srivastava et al. 2014). For training only;
   * leave it out otherwise.
   *
   * @param p the probability, in [0, 1]
   * @param rng the stream that decides; equal streams drop equal elements
   */
  public static Tensor dropout(Tensor x, double p, Rng rng) {
    return p == 0 ? x : dropout(x, p, rng.key());
  }

  static Tensor dropout(Tensor x, double p, long key) {
    return Executor.run(new Dropout(p, key), x);
  }

  private static int[] pair(int both) {
    return new int[] {both, both};
  }

  private static List<Integer> pair(String what, int[] values) {
    if (values.length != 2) {
      throw new ShapeException(what + " must be two numbers; got " + Arrays.toString(values));
    }
    return List.of(values[0], values[1]);
  }
}
