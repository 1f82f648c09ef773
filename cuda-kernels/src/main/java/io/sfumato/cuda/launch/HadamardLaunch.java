// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.memory.Scratch;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.HadamardLowRank;
import io.sfumato.tensor.ops.HadamardLowRankGradients;
import org.jspecify.annotations.Nullable;

/**
 * Products with an elementwise product of two matrices of low rank, whose parts blocks rebuild from
 * the factors: no matrix of the weight's size is in memory, forward or backward.
 */
final class HadamardLaunch {
  private static final int THREADS = 256; // as in the kernels
  private static final int RANKS = 16;
  private static final int TILE = 64;
  private static final int ROWS = 128;
  private static final int PITCH = 68;
  private static final int LEAST_ROWS = 256; // of a part of the sum over rows

  private HadamardLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table
        .add(HadamardLowRank.class, new Forward())
        .add(HadamardLowRankGradients.class, new Gradients());
  }

  private static @Nullable String refusal(Tensor x) {
    return x.dtype() == DType.F64 ? "needs f32, bf16 or f16" : null;
  }

  /** The product, and the gradient of its input. */
  static final class Forward implements Kernel<HadamardLowRank> {
    @Override
    public @Nullable String refuse(HadamardLowRank op, Tensor[] in, Tensor[] out) {
      return refusal(in[0]);
    }

    @Override
    public void launch(HadamardLowRank op, Tensor[] in, Tensor[] out) {
      if (out[0].numel() == 0) {
        return;
      }
      Gpu gpu = Gpu.of(out[0]);
      if (in[1].dim(1) == 0 || in[0].numel() == 0) {
        gpu.zero(out[0].address(), out[0].spec().bytes());
        return;
      }
      DType dtype = in[0].dtype();
      boolean half = dtype.bytes() == 2;
      int n = in[1].dim(0);
      try (Staging staging = new Staging(gpu)) {
        Matrices x = lines(staging, in[0]);
        Matrices y = Matrices.rowMajor(out[0].address(), n);
        Factors f = Factors.of(in, 1);
        int m = MatMulLaunch.rowCount(in[0]);
        gpu.kernel("hadamard", "hadamard_product_" + Types.suffix(dtype))
            .grid(Blocks.ceil(m, half ? ROWS : TILE), Blocks.ceil(n, TILE))
            .block(THREADS)
            .shared(half ? productBytes() : 4 * (4 * RANKS * PITCH + 2 * RANKS * (RANKS + 4)))
            .pointer(x.address())
            .pointer(f.a1.address())
            .pointer(f.b1.address())
            .pointer(f.a2.address())
            .pointer(f.b2.address())
            .pointer(y.address())
            .longs(f.words(m, x, y, dtype))
            .f32(op.scale())
            .run();
      }
    }

    private static int productBytes() {
      return 2 * (2 * ROWS * 40 + 2 * TILE * 40 + 2 * TILE * (RANKS + 8) + 2 * RANKS * 40);
    }
  }

  /** The gradients of the factors. */
  static final class Gradients implements Kernel<HadamardLowRankGradients> {
    @Override
    public @Nullable String refuse(HadamardLowRankGradients op, Tensor[] in, Tensor[] out) {
      return refusal(in[0]);
    }

    @Override
    public void launch(HadamardLowRankGradients op, Tensor[] in, Tensor[] out) {
      Gpu gpu = Gpu.of(out[0]);
      if (in[0].numel() == 0 || in[1].numel() == 0 || in[2].dim(1) == 0) {
        for (Tensor t : out) {
          gpu.zero(t.address(), t.spec().bytes());
        }
        return;
      }
      int m = MatMulLaunch.rowCount(in[0]);
      try (Staging staging = new Staging(gpu)) {
        Matrices dy = lines(staging, in[0]);
        Matrices x = lines(staging, in[1]);
        Factors f = Factors.of(in, 2);
        double scale = op.scale();
        DType dtype = in[0].dtype();
        int r = f.r;
        left(gpu, dtype, scale, m, dy, x, f, out[0], out[2], r, 1);
        left(gpu, dtype, scale, m, x, dy, f.transposed(), out[1], out[3], 1, f.k);
      }
    }

    /**
     * The gradients of both left factors.
     *
     * @param row the step from row to row of a factor's gradient
     * @param column the step from rank to rank
     */
    private static void left(
        Gpu gpu,
        DType dtype,
        double scale,
        int m,
        Matrices dy,
        Matrices x,
        Factors f,
        Tensor d1,
        Tensor d2,
        long row,
        long column) {
      long strips = Blocks.ceil(f.n, TILE);
      // Parts fill the device, but take a quarter of the memory of the whole matrix at most.
      long wanted = Blocks.ceil(2L * gpu.multiprocessors(), strips);
      wanted = Math.max(1, Math.min(wanted, f.k / (8L * f.r)));
      long across = Math.min(Blocks.ceil(f.k, TILE), wanted);
      long down = Math.max(1, Math.min(wanted / across, m / LEAST_ROWS));
      long depth = Blocks.ceil(Blocks.ceil(m, down), 32) * 32;
      down = Blocks.ceil(m, depth);
      long parts = across * down;
      String suffix = Types.suffix(dtype);
      try (Scratch partial = gpu.scratch(parts * 2 * f.n * f.r * Float.BYTES)) {
        gpu.kernel("hadamard", "hadamard_gradients_" + suffix)
            .grid(strips, across, down)
            .block(THREADS)
            .shared(4 * (2 * TILE * (TILE + 1) + 4 * RANKS * PITCH))
            .pointer(dy.address())
            .pointer(x.address())
            .pointer(f.a1.address())
            .pointer(f.b1.address())
            .pointer(f.a2.address())
            .pointer(f.b2.address())
            .pointer(partial.address())
            .i64(depth)
            .longs(f.words(m, x, dy, dtype))
            .f32(scale)
            .run();
        gpu.kernel("hadamard", "hadamard_sum_" + suffix)
            .grid(Blocks.ceil(2L * f.n * f.r, THREADS))
            .block(THREADS)
            .pointer(partial.address())
            .pointer(d1)
            .pointer(d2)
            .i32(parts)
            .i64(f.n)
            .i64(f.r)
            .longs(row, column)
            .run();
      }
    }
  }

  /** Rows without gaps between columns. */
  private static Matrices lines(Staging staging, Tensor t) {
    Matrices rows = MatMulLaunch.rows(staging, t);
    return rows.column() == 1 ? rows : Matrices.rowMajor(staging.rowMajor(t), t.dim(-1));
  }

  /** The four factors: A₁, A₂ [n, r], B₁, B₂ [r, k]. */
  private record Factors(int n, int k, int r, Matrices a1, Matrices b1, Matrices a2, Matrices b2) {
    static Factors of(Tensor[] in, int first) {
      return new Factors(
          in[first].dim(0),
          in[first + 1].dim(1),
          in[first].dim(1),
          matrix(in[first]),
          matrix(in[first + 1]),
          matrix(in[first + 2]),
          matrix(in[first + 3]));
    }

    private static Matrices matrix(Tensor t) {
      return Matrices.of(t.address(), t.layout().stride(0), t.layout().stride(1));
    }

    Factors transposed() {
      return new Factors(
          k, n, r, b1.transposed(), a1.transposed(), b2.transposed(), a2.transposed());
    }

    /** {@code struct Hadamard}. */
    long[] words(int m, Matrices x, Matrices y, DType dtype) {
      int width = 16 / dtype.bytes();
      boolean fast = x.row() % width == 0 && k % width == 0 && x.address() % 16 == 0;
      return new long[] {
        m,
        n,
        k,
        r,
        x.row(),
        y.row(),
        fast ? 1 : 0,
        a1.row(),
        a1.column(),
        b1.row(),
        b1.column(),
        a2.row(),
        a2.column(),
        b2.row(),
        b2.column()
      };
    }
  }
}
