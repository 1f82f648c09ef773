// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Running sum along an axis: {@code y_i = Σ_{j ≤ i} x_j}, or {@code j ≥ i} if reversed. Sums of
 * integers and BOOL are I64.
 *
 * @param axis the axis
 * @param reversed whether to start at the end
 */
public record CumSum(int axis, boolean reversed) implements Differentiable {
  @Override
  public String name() {
    return "cumsum";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.getFirst();
    x.shape().axis(axis);
    return List.of(x.dtype().isFloating() ? x : x.with(DType.I64));
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] y = out[0].data();
    int a = in[0].shape().axis(axis);
    int n = in[0].dim(a);
    int inner = in[0].inner(a);
    for (int line = 0; line < in[0].outer(a) * inner; line++) {
      int base = line / inner * n * inner + line % inner;
      double sum = 0;
      for (int k = 0; k < n; k++) {
        int i = base + (reversed ? n - 1 - k : k) * inner;
        sum += x[i];
        y[i] = sum;
      }
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.NONE;
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    return new @Nullable Tensor[] {Num.cumsum(c.grad(0), axis, !reversed)};
  }
}
