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
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Root-mean-square normalisation (Zhang and Sennrich 2019): {@code y = x rstd w} with {@code rstd =
 * 1 / sqrt(mean(x²) + eps)} over the last dimension. Inputs: x [..., D] and w [D] if it exists.
 * Outputs: y [..., D], and rstd [...] in the accumulator's type.
 *
 * @param eps added to the mean square
 * @param weight whether there is a w
 */
public record RmsNorm(double eps, boolean weight) implements Differentiable, BatchwiseOp {
  @Override
  public String name() {
    return "rms_norm";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    Require.oneFloatingType(in);
    TensorSpec x = in.getFirst();
    if (x.shape().rank() < 1) {
      throw new ShapeException("input must have at least one dimension");
    }
    if (weight) {
      Require.shape(in.get(1), Shape.of(x.shape().dim(-1)), "weight", "[D]");
    }
    return List.of(x, x.with(x.shape().without(-1)).with(x.dtype().accumulator()));
  }

  @Override
  public boolean isBatchwise(Shape first) {
    return first.rank() > 1;
  }

  @Override
  public boolean isShared(int input) {
    return input > 0;
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] y = out[0].data();
    double[] rstd = out[1].data();
    int n = in[0].dim(-1);
    for (int i = 0; i < x.length; i++) {
      rstd[i / n] += x[i] * x[i] / n;
    }
    for (int row = 0; row < rstd.length; row++) {
      rstd[row] = 1 / Math.sqrt(rstd[row] + eps);
    }
    for (int i = 0; i < x.length; i++) {
      y[i] = x[i] * rstd[i / n] * (weight ? in[1].data()[i % n] : 1);
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return NormRules.inputsAndStatistics(needs.length, 2);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    NormRules.noStatisticsGradient(c, name(), 2);
    return Norms.rmsNormBackward(this, c, weight && c.needs(1));
  }
}
