// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.BatchAxes;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.Linear;
import io.sfumato.tensor.ops.MatMul;
import java.util.Arrays;

/** Matrix products and linear layers; operands are read where they lie, whatever their strides. */
final class MatMulLaunch implements Kernel<MatMul> {
  static KernelTable addTo(KernelTable table) {
    return table.add(MatMul.class, new MatMulLaunch()).add(Linear.class, new Layer());
  }

  @Override
  public void launch(MatMul op, Tensor[] in, Tensor[] out) {
    Tensor c = out[0];
    if (c.numel() == 0) {
      return;
    }
    Gpu gpu = Gpu.of(c);
    int[] dims = Arrays.copyOf(c.shape().dims(), c.rank() - 2);
    long[] a = BatchAxes.strides(in[0].layout(), dims);
    long[] b = BatchAxes.strides(in[1].layout(), dims);
    long[] y = BatchAxes.strides(c.layout(), dims);
    int last = BatchAxes.join(dims, a, b, y);
    Matrices left = matrix(in[0]);
    Matrices right = matrix(in[1]);
    if (op.transposeA()) {
      left = left.transposed();
    }
    if (op.transposeB()) {
      right = right.transposed();
    }
    Matrices result = matrix(c);
    int m = c.dim(-2);
    int k = in[0].dim(op.transposeA() ? -2 : -1);
    if (last >= 0
        && b[last] == 0
        && (m == 1 || (a[last] == m * left.row() && y[last] == m * result.row()))
        && (long) m * dims[last] <= Integer.MAX_VALUE) {
      left = m == 1 ? Matrices.of(left.address(), a[last], left.column()) : left;
      result = m == 1 ? Matrices.of(result.address(), y[last], result.column()) : result;
      m *= dims[last--]; // one matrix on the right: the rows of all on the left are one matrix
    }
    int inner = last < 0 ? 1 : dims[last];
    int outer = last < 1 ? 1 : dims[last - 1];
    int rest = 1;
    for (int i = 0; i < last - 1; i++) {
      rest *= dims[i];
    }
    int bytes = c.dtype().bytes();
    for (int s = 0; s < rest; s++) {
      Product p =
          Product.of(
                  c.dtype(),
                  m,
                  c.dim(-1),
                  k,
                  batch(left, a, last, bytes * BatchAxes.offset(dims, a, last - 1, s)),
                  batch(right, b, last, bytes * BatchAxes.offset(dims, b, last - 1, s)),
                  batch(result, y, last, bytes * BatchAxes.offset(dims, y, last - 1, s)))
              .batches(outer, inner);
      Products.run(gpu, p);
    }
  }

  private static Matrices matrix(Tensor t) {
    return Matrices.of(t.address(), t.layout().stride(-2), t.layout().stride(-1));
  }

  private static Matrices batch(Matrices x, long[] strides, int last, long bytes) {
    return new Matrices(
        x.address() + bytes,
        x.row(),
        x.column(),
        last < 1 ? 0 : strides[last - 1],
        last < 0 ? 0 : strides[last]);
  }

  /** {@link Linear}. */
  static final class Layer implements Kernel<Linear> {
    @Override
    public void launch(Linear op, Tensor[] in, Tensor[] out) {
      if (out[0].numel() == 0) {
        return;
      }
      Gpu gpu = Gpu.of(out[0]);
      Tensor w = in[1];
      int n = w.dim(0);
      int k = w.dim(1);
      int m = Math.toIntExact(out[0].numel() / n);
      try (Staging staging = new Staging(gpu)) {
        Product p =
            Product.of(
                out[0].dtype(),
                m,
                n,
                k,
                rows(staging, in[0]),
                matrix(w).transposed(),
                Matrices.rowMajor(out[0].address(), n));
        Products.run(gpu, op.bias() ? p.plusBias(staging.rowMajor(in[2])) : p);
      }
    }
  }

  /** The number of rows of a tensor [..., k]. */
  static int rowCount(Tensor x) {
    long count = 1;
    for (int i = 0; i < x.rank() - 1; i++) {
      count *= x.dim(i);
    }
    return Math.toIntExact(count);
  }

  /** A tensor [..., k] as a matrix of rows, copied if it is none. */
  static Matrices rows(Staging staging, Tensor x) {
    int k = x.dim(-1);
    Layout rows = x.layout().reshape(Shape.of(rowCount(x), k));
    return rows == null
        ? Matrices.rowMajor(staging.rowMajor(x), k)
        : Matrices.of(x.address(), rows.stride(0), rows.stride(1));
  }
}
