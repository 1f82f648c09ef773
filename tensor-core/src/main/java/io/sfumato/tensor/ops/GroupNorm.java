// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.BatchwiseOp;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Group normalisation (Wu and He 2018), with SiLU after it if asked for: {@code z = (x - mean) rstd
 * w + b}, {@code y = z} or {@code z sigmoid(z)}, where mean and {@code rstd = 1 / sqrt(variance +
 * eps)} belong to the channels of one group of one sample. Inputs: x [N, C, ...] and those of w
 * [C], b [C] that exist. Outputs: y [N, C, ...], and mean and rstd [N, groups] in the accumulator's
 * type.
 *
 * @param groups the number of groups
 * @param eps added to the biased variance
 * @param weight whether there is a w
 * @param bias whether there is a b
 * @param silu whether SiLU follows
 */
public record GroupNorm(int groups, double eps, boolean weight, boolean bias, boolean silu)
    implements Differentiable, BatchwiseOp {
  @Override
  public String name() {
    return silu ? "group_norm_silu" : "group_norm";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    Require.oneFloatingType(in);
    TensorSpec x = in.getFirst();
    check(x.shape(), groups);
    affine(in, 1, x.shape(), weight, bias);
    TensorSpec statistics =
        x.with(Shape.of(x.shape().dim(0), groups)).with(x.dtype().accumulator());
    return List.of(x, statistics, statistics);
  }

  static void check(Shape x, int groups) {
    if (x.rank() < 2 || groups < 1 || x.dim(1) % groups != 0) {
      throw new ShapeException(
          "input must have shape [N, C, ...] with C divisible by groups = " + groups);
    }
  }

  /** Weight and bias, as far as they exist, from input {@code first} on. */
  static void affine(List<TensorSpec> in, int first, Shape x, boolean weight, boolean bias) {
    Shape channels = Shape.of(x.dim(1));
    if (weight) {
      Require.shape(in.get(first), channels, "weight", "[C]");
    }
    if (bias) {
      Require.shape(in.get(weight ? first + 1 : first), channels, "bias", "[C]");
    }
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return output == 0 ? like(in.getFirst()) : Layout.contiguous(spec.shape());
  }

  /** Channels-last for channels-last, else row-major. */
  static Layout like(Layout x) {
    return x.isChannelsLast() && !x.isContiguous()
        ? Layout.channelsLast(x.shape())
        : Layout.contiguous(x.shape());
  }

  @Override
  public boolean isShared(int input) {
    return input > 0;
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] y = out[0].data();
    int inner = in[0].inner(1);
    int channels = in[0].dim(1);
    int n = channels / groups * inner;
    for (int row = 0; row < out[1].numel(); row++) {
      double[] statistics = NormRules.statistics(x, row * n, n, eps);
      out[1].data()[row] = statistics[0];
      out[2].data()[row] = statistics[1];
    }
    for (int i = 0; i < y.length; i++) {
      int c = i / inner % channels;
      double z = (x[i] - out[1].data()[i / n]) * out[2].data()[i / n];
      z = weight ? z * in[1].data()[c] : z;
      z = bias ? z + in[weight ? 2 : 1].data()[c] : z;
      y[i] = silu ? z * NormRules.sigmoid(z) : z;
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return NormRules.inputsAndStatistics(needs.length, 3);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    NormRules.noStatisticsGradient(c, name(), 3);
    boolean dw = weight && c.needs(1);
    boolean db = bias && c.needs(weight ? 2 : 1);
    return Norms.groupNormBackward(this, c, dw, db);
  }
}
