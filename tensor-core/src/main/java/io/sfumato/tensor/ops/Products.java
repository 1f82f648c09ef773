// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Executor;
import java.util.Arrays;

/** The rules of {@link Num#matmul(Tensor, Tensor)}. */
final class Products {
  private Products() {}

  static Tensor matmul(Tensor a, Tensor b) {
    if (a.rank() == 0 || b.rank() == 0) {
      throw new ShapeException(
          "matmul: operands must have at least one dimension; got " + a.spec() + ", " + b.spec());
    }
    boolean row = a.rank() == 1;
    boolean column = b.rank() == 1;
    Tensor x = row ? Shaping.unsqueeze(a, 0) : a;
    Tensor y = column ? Shaping.unsqueeze(b, 1) : b;
    Tensor c = matrices(x, y);
    if (column) {
      c = Shaping.squeeze(c, -1);
    }
    return row ? Shaping.squeeze(c, column ? -1 : -2) : c;
  }

  /** A batch times one matrix is one product of more rows, if the batch lies so. */
  private static Tensor matrices(Tensor x, Tensor y) {
    if (x.rank() > 2 && y.rank() == 2 && x.dim(-1) == y.dim(0)) {
      Shape batch = x.shape().without(-1);
      Shape rows = Shape.of(Math.toIntExact(batch.numel()), x.dim(-1));
      if (x.layout().reshape(rows) != null) {
        Tensor c = matmul(Shaping.reshape(x, rows), y, false, false);
        int[] dims = Arrays.copyOf(batch.dims(), batch.rank() + 1);
        dims[dims.length - 1] = y.dim(1);
        return Shaping.reshape(c, Shape.of(dims));
      }
    }
    return matmul(x, y, false, false);
  }

  static Tensor matmul(Tensor a, Tensor b, boolean transposeA, boolean transposeB) {
    return Executor.run(new MatMul(transposeA, transposeB), a, b);
  }
}
