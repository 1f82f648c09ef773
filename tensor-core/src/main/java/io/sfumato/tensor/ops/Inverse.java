// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Inverses of square matrices, {@code Y = A⁻¹}: A [..., n, n], by Gauss-Jordan elimination with row
 * pivoting in f64. Meant for small n. A singular matrix gives values that are not finite. Backward
 * {@code dA = -Yᵀ dY Yᵀ}.
 */
public record Inverse() implements Differentiable {
  @Override
  public String name() {
    return "inverse";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    Require.oneFloatingType(in);
    TensorSpec a = in.getFirst();
    int rank = a.shape().rank();
    if (rank < 2 || a.shape().dim(rank - 1) != a.shape().dim(rank - 2)) {
      throw new ShapeException("the matrices must be square, [..., n, n]");
    }
    return List.of(a);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    int n = in[0].dim(in[0].shape().rank() - 1);
    double[] a = in[0].data();
    double[] y = out[0].data();
    for (int at = 0; at < a.length; at += n * n) {
      invert(Arrays.copyOfRange(a, at, at + n * n), y, at, n);
    }
  }

  /** Inverts the n x n matrix {@code a}, which is used up, into {@code y} from {@code at} on. */
  private static void invert(double[] a, double[] y, int at, int n) {
    Arrays.fill(y, at, at + n * n, 0);
    for (int i = 0; i < n; i++) {
      y[at + i * n + i] = 1;
    }
    for (int k = 0; k < n; k++) {
      int pivot = k;
      for (int i = k + 1; i < n; i++) {
        pivot = Math.abs(a[i * n + k]) > Math.abs(a[pivot * n + k]) ? i : pivot;
      }
      swap(a, k * n, pivot * n, n);
      swap(y, at + k * n, at + pivot * n, n);
      double scale = 1 / a[k * n + k];
      for (int j = 0; j < n; j++) {
        a[k * n + j] *= scale;
        y[at + k * n + j] *= scale;
      }
      for (int i = 0; i < n; i++) {
        double factor = a[i * n + k];
        if (i != k) {
          for (int j = 0; j < n; j++) {
            a[i * n + j] -= factor * a[k * n + j];
            y[at + i * n + j] -= factor * y[at + k * n + j];
          }
        }
      }
    }
  }

  private static void swap(double[] values, int one, int two, int n) {
    for (int j = 0; j < n; j++) {
      double t = values[one + j];
      values[one + j] = values[two + j];
      values[two + j] = t;
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.outputs(0);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    Tensor y = c.output(0);
    return new @Nullable Tensor[] {
      Num.matmul(Num.matmul(y, c.grad(0), true, false), y, false, true).neg()
    };
  }
}
