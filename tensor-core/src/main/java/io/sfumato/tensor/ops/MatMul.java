// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Shape;
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
 * The product of matrices, {@code C = op(A) op(B)} with {@code op} the identity or the transpose,
 * for each index of the broadcast leading dimensions. A is [..., m, k], or [..., k, m] if
 * transposed; B is [..., k, n], or [..., n, k] if transposed; C is [..., m, n].
 *
 * @param transposeA whether A is transposed
 * @param transposeB whether B is transposed
 */
public record MatMul(boolean transposeA, boolean transposeB) implements Differentiable {
  @Override
  public String name() {
    return "matmul";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    Require.oneFloatingType(in);
    Shape a = in.get(0).shape();
    Shape b = in.get(1).shape();
    if (a.rank() < 2 || b.rank() < 2) {
      throw new ShapeException("operands must be matrices or batches of them");
    }
    int k = a.dim(transposeA ? -2 : -1);
    int inner = b.dim(transposeB ? -1 : -2);
    if (k != inner) {
      throw new ShapeException(
          "inner dimensions must be equal; left has "
              + k
              + ", right has "
              + inner
              + (transposeA ? ", left is transposed" : "")
              + (transposeB ? ", right is transposed" : ""));
    }
    Shape batch = Shape.broadcast(batch(a), batch(b));
    int[] dims = Arrays.copyOf(batch.dims(), batch.rank() + 2);
    dims[dims.length - 2] = a.dim(transposeA ? -1 : -2);
    dims[dims.length - 1] = b.dim(transposeB ? -2 : -1);
    return List.of(in.getFirst().with(Shape.of(dims)));
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    Shape batch = batch(out[0].shape());
    double[] a = in[0].expand(matrices(batch, in[0].shape())).data();
    double[] b = in[1].expand(matrices(batch, in[1].shape())).data();
    double[] c = out[0].data();
    int m = out[0].dim(-2);
    int n = out[0].dim(-1);
    int k = in[0].dim(transposeA ? -2 : -1);
    for (int s = 0; s < batch.numel(); s++) {
      for (int i = 0; i < m; i++) {
        for (int j = 0; j < n; j++) {
          double sum = 0;
          for (int p = 0; p < k; p++) {
            double left = a[s * m * k + (transposeA ? p * m + i : i * k + p)];
            double right = b[s * k * n + (transposeB ? j * k + p : p * n + j)];
            sum += left * right;
          }
          c[(s * m + i) * n + j] = sum;
        }
      }
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.inputsIf(new int[] {0, 1}, needs[1], needs[0]);
  }

  /** {@code dA = dC op(B)ᵀ} and {@code dB = op(A)ᵀ dC}, transposed where the operand was. */
  @Override
  public @Nullable Tensor[] backward(Backward c) {
    Tensor g = c.grad(0);
    Tensor da = null;
    Tensor db = null;
    if (c.needs(0)) {
      Tensor b = c.input(1);
      da = transposeA ? Num.matmul(b, g, transposeB, true) : Num.matmul(g, b, false, !transposeB);
      da = Num.sumTo(da, c.inputSpec(0).shape());
    }
    if (c.needs(1)) {
      Tensor a = c.input(0);
      db = transposeB ? Num.matmul(g, a, true, transposeA) : Num.matmul(a, g, !transposeA, false);
      db = Num.sumTo(db, c.inputSpec(1).shape());
    }
    return new @Nullable Tensor[] {da, db};
  }

  private static Shape batch(Shape shape) {
    return Shape.of(Arrays.copyOf(shape.dims(), shape.rank() - 2));
  }

  private static Shape matrices(Shape batch, Shape shape) {
    int[] dims = Arrays.copyOf(batch.dims(), batch.rank() + 2);
    dims[dims.length - 2] = shape.dim(-2);
    dims[dims.length - 1] = shape.dim(-1);
    return Shape.of(dims);
  }
}
