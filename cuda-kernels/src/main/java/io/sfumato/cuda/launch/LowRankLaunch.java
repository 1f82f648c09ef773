// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.LowRank;
import io.sfumato.tensor.ops.LowRankGradients;

/**
 * Linear layers with a low-rank change of the weight: {@code t = s x Aᵀ}, then {@code y = x Wᵀ + t
 * Bᵀ + b} as one product whose sums go over both pairs. The weight is never changed, so a change
 * that is smaller than its rounding is not lost.
 */
final class LowRankLaunch {
  private static final int FEW_RANKS = 16;

  private LowRankLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table.add(LowRank.class, new Forward()).add(LowRankGradients.class, new Gradients());
  }

  /** The layer, and the gradient of its input. */
  static final class Forward implements Kernel<LowRank> {
    @Override
    public void launch(LowRank op, Tensor[] in, Tensor[] out) {
      if (out[0].numel() == 0) {
        return;
      }
      Gpu gpu = Gpu.of(out[0]);
      DType dtype = out[0].dtype();
      int n = in[1].dim(0);
      int k = in[1].dim(1);
      int r = in[2].dim(0);
      int m = Math.toIntExact(out[0].numel() / n);
      int pitch = pitch(r, dtype);
      try (Staging staging = new Staging(gpu)) {
        Matrices x = MatMulLaunch.rows(staging, in[0]);
        Matrices w = matrix(in[1]).transposed();
        Matrices y = Matrices.rowMajor(out[0].address(), n);
        Product p = Product.of(dtype, m, n, k, x, w, y);
        if (op.bias()) {
          p = p.plusBias(staging.rowMajor(in[4]));
        }
        LowRankHopper hopper = new LowRankHopper(p, in[2], in[3], op.scale());
        if (hopper.pays(gpu)) {
          hopper.run(gpu, staging);
          return;
        }
        Matrices a = near(staging, gpu, in[2], false);
        Matrices b = near(staging, gpu, in[3], false);
        LowRankKernels thin = new LowRankKernels(dtype, m, n, k, r, op.scale(), x, y, a, b);
        if (!OwnGemms.keepsUp(gpu, p)
            && thin.fits()
            && inOnePass(m, n, k, r)
            && Products.adds(gpu, p)) {
          // The change first: the large product then reads it while it computes.
          thin.update(gpu, p.bias());
          Products.run(gpu, p.alone().scaled(1, 1));
          return;
        }
        if (r > 0) {
          long address = staging.allocate((long) m * pitch * dtype.bytes());
          Matrices t = Matrices.rowMajor(address, pitch);
          Product first = Product.of(dtype, m, r, k, x, a.transposed(), t);
          Products.run(gpu, first.scaled(op.scale(), 0));
          p = p.plus(r, t, factor(staging, gpu, in[3], pitch).transposed());
        }
        Products.run(gpu, p);
      }
    }

    /**
     * B [n, r]; rows that do not start at multiples of 16 bytes are copied to a pitch that does.
     */
    private static Matrices factor(Staging staging, Gpu gpu, Tensor b, int pitch) {
      Layout layout = b.layout();
      if (layout.stride(1) != 1 || layout.stride(0) % (16 / b.dtype().bytes()) == 0) {
        return matrix(b);
      }
      long copy = staging.allocate((long) b.dim(0) * pitch * b.dtype().bytes());
      CopyLaunch.copy(gpu, b, copy, Layout.of(b.shape(), new long[] {pitch, 1}, 0));
      return Matrices.rowMajor(copy, pitch);
    }
  }

  /** The gradients of the factors. */
  static final class Gradients implements Kernel<LowRankGradients> {
    @Override
    public void launch(LowRankGradients op, Tensor[] in, Tensor[] out) {
      int r = in[2].dim(0);
      int n = in[0].dim(-1);
      int k = in[1].dim(-1);
      if (r == 0) {
        return;
      }
      Gpu gpu = Gpu.of(out[0]);
      DType dtype = out[0].dtype();
      try (Staging staging = new Staging(gpu)) {
        Matrices dy = MatMulLaunch.rows(staging, in[0]);
        Matrices x = MatMulLaunch.rows(staging, in[1]);
        int m = MatMulLaunch.rowCount(in[0]);
        if (m == 0) {
          gpu.zero(out[0].address(), out[0].spec().bytes());
          gpu.zero(out[1].address(), out[1].spec().bytes());
          return;
        }
        Matrices first = near(staging, gpu, in[2], false);
        Matrices second = near(staging, gpu, in[3], true);
        LowRankKernels thin =
            new LowRankKernels(dtype, m, n, k, r, op.scale(), x, dy, first, second);
        if (thin.fits() && inOnePass(m, n, k, r)) {
          thin.gradients(gpu, out[0].address(), out[1].address());
          return;
        }
        Thin g = Thin.of(staging, gpu, Product.of(dtype, m, r, n, dy, matrix(in[3]), NONE), op);
        if (k > 0) {
          g.transposedTimes(gpu, x, k, out[0].address());
        }
        Matrices a = matrix(in[2]).transposed();
        Thin h = Thin.of(staging, gpu, Product.of(dtype, m, r, k, x, a, NONE), op);
        if (n > 0) {
          h.timesInto(gpu, dy, n, out[1].address());
        }
      }
    }
  }

  /**
   * Whether the kernels that keep the thin product in shared memory pay. With more ranks they have
   * fewer rows per block; on an H200 rank 64 of 4096 rows took 47 us in one pass and 75 in two, of
   * 16384 rows 204 and 139.
   */
  private static boolean inOnePass(int m, int n, int k, int r) {
    return r <= FEW_RANKS || 2.0 * m * n * k < LARGE;
  }

  private static final double LARGE = 16e9;

  private static final Matrices NONE = Matrices.rowMajor(0, 0);

  /**
   * A thin matrix [m, r] that two products follow. Rounded to 16 bits it would cost as many digits
   * as the gradients have, so it is kept as two: [m, 2 pitch].
   */
  private record Thin(DType dtype, int m, int r, int pitch, boolean split, Matrices values) {
    static Thin of(Staging staging, Gpu gpu, Product p, LowRankGradients op) {
      boolean split = p.dtype().bytes() == 2;
      int pitch = LowRankLaunch.pitch(p.n(), p.dtype());
      int width = split ? 2 * pitch : pitch;
      long address = staging.allocate((long) p.m() * width * p.dtype().bytes());
      Matrices values = Matrices.rowMajor(address, width);
      Product scaled = p.on(p.a(), p.b(), values).scaled(op.scale(), 0);
      if (split) {
        OwnGemms.split(gpu, scaled, address, pitch);
      } else {
        Products.run(gpu, scaled);
      }
      return new Thin(p.dtype(), p.m(), p.n(), pitch, split, values);
    }

    /** Writes [r, k], the product of the transpose with x [m, k], to {@code to}. */
    void transposedTimes(Gpu gpu, Matrices x, int k, long to) {
      int rows = split ? 2 * pitch : r;
      Matrices result = Matrices.rowMajor(to, k);
      Product p = Product.of(dtype, rows, k, m, values.transposed(), x, result);
      if (split) {
        OwnGemms.fold(gpu, p, to, r, k, (long) pitch * k);
      } else {
        Products.run(gpu, p);
      }
    }

    /** Writes [n, r], the product of y [m, n] transposed with this, to {@code to}. */
    void timesInto(Gpu gpu, Matrices y, int n, long to) {
      int columns = split ? 2 * pitch : r;
      Matrices result = Matrices.rowMajor(to, columns);
      Product p = Product.of(dtype, n, columns, m, y.transposed(), values, result);
      if (split) {
        OwnGemms.fold(gpu, p, to, n, r, pitch);
      } else {
        Products.run(gpu, p);
      }
    }
  }

  /**
   * A factor; of more than a few ranks, and in 16 bits, it is copied if it is not contiguous by
   * rows, or by columns: kernels would read it one by one, again for each few rows of x.
   */
  private static Matrices near(Staging staging, Gpu gpu, Tensor t, boolean byColumns) {
    int rank = Math.min(t.dim(0), t.dim(1));
    long stride = t.layout().stride(byColumns ? 0 : 1);
    if (rank <= FEW_RANKS || t.dtype().bytes() != 2 || stride == 1) {
      return matrix(t);
    }
    if (!byColumns) {
      return Matrices.rowMajor(staging.rowMajor(t), t.dim(1));
    }
    long copy = staging.allocate(t.spec().bytes());
    CopyLaunch.copy(gpu, t, copy, Layout.of(t.shape(), new long[] {1, t.dim(0)}, 0));
    return Matrices.of(copy, 1, t.dim(0));
  }

  private static Matrices matrix(Tensor t) {
    return Matrices.of(t.address(), t.layout().stride(0), t.layout().stride(1));
  }

  /** The smallest stride of rows of {@code r} values at which all are aligned to 16 bytes. */
  private static int pitch(int r, DType dtype) {
    int vector = 16 / dtype.bytes();
    return (r + vector - 1) / vector * vector;
  }
}
