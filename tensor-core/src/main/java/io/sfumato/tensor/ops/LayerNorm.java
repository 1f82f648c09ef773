// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.BatchwiseOp;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Layer normalisation (Ba et al. 2016): {@code y = (x - mean) rstd w + b} with mean and {@code rstd
 * = 1 / sqrt(variance + eps)} over the last {@code dims} dimensions. Inputs: x and those of w, b
 * (the shape of those dimensions) that exist. Outputs: y, and mean and rstd (the shape of the other
 * dimensions) in the accumulator's type.
 *
 * @param dims the number of normalised dimensions
 * @param eps added to the biased variance
 * @param weight whether there is a w
 * @param bias whether there is a b
 */
public record LayerNorm(int dims, double eps, boolean weight, boolean bias)
    implements Differentiable, BatchwiseOp {
  @Override
  public String name() {
    return "layer_norm";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    Require.oneFloatingType(in);
    TensorSpec x = in.getFirst();
    check(x.shape(), dims);
    affine(in, 1, x.shape());
    TensorSpec statistics = x.with(outer(x.shape(), dims)).with(x.dtype().accumulator());
    return List.of(x, statistics, statistics);
  }

  static void check(Shape x, int dims) {
    if (dims < 1 || x.rank() < dims) {
      throw new ShapeException("input must have the " + dims + " dimensions to normalise");
    }
  }

  void affine(List<TensorSpec> in, int first, Shape x) {
    Shape normalised = inner(x, dims);
    if (weight) {
      Require.shape(in.get(first), normalised, "weight", "of the normalised dimensions");
    }
    if (bias) {
      Require.shape(
          in.get(weight ? first + 1 : first), normalised, "bias", "of the normalised dimensions");
    }
  }

  /** The dimensions before the last {@code dims}. */
  static Shape outer(Shape x, int dims) {
    return Shape.of(Arrays.copyOf(x.dims(), x.rank() - dims));
  }

  /** The last {@code dims} dimensions. */
  static Shape inner(Shape x, int dims) {
    return Shape.of(Arrays.copyOfRange(x.dims(), x.rank() - dims, x.rank()));
  }

  @Override
  public boolean isBatchwise(Shape first) {
    return first.rank() > dims;
  }

  @Override
  public boolean isShared(int input) {
    return input > 0;
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] y = out[0].data();
    int n = Math.toIntExact(inner(in[0].shape(), dims).numel());
    for (int row = 0; row < out[1].numel(); row++) {
      double[] statistics = NormRules.statistics(x, row * n, n, eps);
      out[1].data()[row] = statistics[0];
      out[2].data()[row] = statistics[1];
    }
    for (int i = 0; i < y.length; i++) {
      double z = (x[i] - out[1].data()[i / n]) * out[2].data()[i / n];
      z = weight ? z * in[1].data()[i % n] : z;
      y[i] = bias ? z + in[weight ? 2 : 1].data()[i % n] : z;
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    int[] inputs = weight ? new int[] {0, 1} : new int[] {0};
    return Saved.inputs(inputs).andOutputs(1, 2);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    NormRules.noStatisticsGradient(c, name(), 3);
    boolean dw = weight && c.needs(1);
    boolean db = bias && c.needs(weight ? 2 : 1);
    return Norms.layerNormBackward(this, c, dw, db);
  }
}
