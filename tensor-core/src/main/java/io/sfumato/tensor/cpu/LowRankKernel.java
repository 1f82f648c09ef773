// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.Gemm.Matrix;
import io.sfumato.tensor.cpu.Gemm.Term;
import java.util.List;

/**
 * Products with a weight {@code W + s B A} whose change has low rank, and the gradients of A and B,
 * in f32. Results are the same bits for any number of threads.
 *
 * <p>The order of the products depends on the sizes. Many rows: {@code W + s B A} is formed in work
 * space, which costs {@code out * in * r} products, and multiplied once. Few rows: {@code s x Aᵀ}
 * is formed, which costs {@code rows * in * r}, and the two products are added up block by block.
 */
public final class LowRankKernel {
  /** Rows whose products stay in a core's cache. */
  private static final int BLOCK = 64;

  private static final int PART_ROWS = 256;
  private static final int MOST_PARTS = 32;

  private LowRankKernel() {}

  /**
   * {@code y = x (W + s B A)ᵀ (+ bias)}.
   *
   * @param m rows of x and y
   * @param n columns of y, rows of W and B
   * @param k columns of x, W and A
   * @param r the rank
   * @param x the input [m, k]
   * @param w the weight [n, k], any strides
   * @param a the factor A [r, k], any strides
   * @param b the factor B [n, r], any strides
   * @param scale the factor s
   * @param bias address of n floats, or 0
   * @param y address of the result [m, n], row-major
   */
  public static void forward(
      int m,
      int n,
      int k,
      int r,
      Matrix x,
      Matrix w,
      Matrix a,
      Matrix b,
      float scale,
      long bias,
      long y) {
    Matrix out = Matrix.rowMajor(y, n);
    if ((double) m * (n + k) > (double) n * k) {
      Gemm.multiply(1, m, n, k, x, changed(n, k, r, w, a, b, scale).transposed(), out, false, bias);
      return;
    }
    long low = Scratch.get(Scratch.Slot.LOW_RANK, 4L * m * r);
    Matrix h = Matrix.rowMajor(low, r);
    Gemm.multiply(1, m, r, k, x, a.transposed(), h, false, 0);
    scale(low, (long) m * r, scale);
    List<Term> terms = List.of(new Term(k, x, w.transposed()), new Term(r, h, b.transposed()));
    Gemm.multiplySum(m, n, terms, out, false, bias);
  }

  /** {@code W + s B A} [n, k] in work space, in the memory order of W. */
  private static Matrix changed(int n, int k, int r, Matrix w, Matrix a, Matrix b, float scale) {
    boolean byColumns = w.colStride() != 1 && w.rowStride() == 1;
    int rows = byColumns ? k : n;
    int columns = byColumns ? n : k;
    Matrix from = byColumns ? w.transposed() : w;
    Matrix left = byColumns ? a.transposed() : b;
    Matrix right = byColumns ? b.transposed() : a;
    long floats = (long) rows * columns;
    long sum = Scratch.get(Scratch.Slot.LOW_RANK, 4 * (floats + (long) rows * r));
    long scaled = sum + 4 * floats;
    for (int i = 0; i < rows; i++) {
      for (int q = 0; q < r; q++) {
        long at = left.address() + 4 * (i * left.rowStride() + q * left.colStride());
        Memory.putFloat(scaled + 4 * ((long) i * r + q), scale * Memory.getFloat(at));
      }
    }
    Parallel.forRange(
        rows,
        Math.max(1, (1 << 15) / columns),
        (begin, end, worker) -> {
          for (int i = begin; i < end; i++) {
            copyRow(from, i, columns, sum + 4L * i * columns);
          }
        });
    Matrix result = Matrix.rowMajor(sum, columns);
    Gemm.multiply(1, rows, columns, r, Matrix.rowMajor(scaled, r), right, result, true, 0);
    return byColumns ? result.transposed() : result;
  }

  private static void copyRow(Matrix from, int row, int columns, long to) {
    long at = from.address() + 4 * row * from.rowStride();
    if (from.colStride() == 1) {
      Memory.copy(at, to, 4L * columns);
      return;
    }
    for (int j = 0; j < columns; j++) {
      Memory.putFloat(to + 4L * j, Memory.getFloat(at + 4 * j * from.colStride()));
    }
  }

  private static void scale(long at, long floats, float scale) {
    if (scale != 1) {
      for (long i = 0; i < 4 * floats; i += 4) {
        Memory.putFloat(at + i, scale * Memory.getFloat(at + i));
      }
    }
  }

  /**
   * {@code dA = s (dy B)ᵀ x} and {@code dB = s dyᵀ (x Aᵀ)}, reading dy and x once: a block of their
   * rows stays in the cache while all four products are formed. The rows are cut into parts whose
   * sums are added in order; the number of parts depends on the sizes alone.
   *
   * @param m rows of x and dy
   * @param n columns of dy, rows of B
   * @param k columns of x and A
   * @param r the rank
   * @param dy the output's gradient [m, n] with contiguous rows
   * @param x the input [m, k] with contiguous rows
   * @param a the factor A [r, k], any strides
   * @param b the factor B [n, r], any strides
   * @param scale the factor s
   * @param da address of the result [r, k], row-major
   * @param db address of the result [n, r], row-major
   */
  public static void gradients(
      int m,
      int n,
      int k,
      int r,
      Matrix dy,
      Matrix x,
      Matrix a,
      Matrix b,
      float scale,
      long da,
      long db) {
    GemmTile tile = Simd.provider().gemmTile();
    if (k % tile.lanes() != 0 || n % tile.lanes() != 0) {
      separately(m, n, k, r, dy, x, a, b, scale, da, db);
      return;
    }
    long panelA =
        Scratch.get(
            Scratch.Slot.LOW_RANK, 4 * (Panels.floats(tile, k, r) + Panels.floats(tile, n, r)));
    long panelB = panelA + 4 * Panels.floats(tile, k, r);
    Panels.packAll(tile, k, r, a.transposed(), panelA);
    Panels.packAll(tile, n, r, b, panelB);
    int parts = Math.clamp(m / PART_ROWS, 1, MOST_PARTS);
    long floats = (long) r * (n + k);
    long sums = Scratch.get(Scratch.Slot.PARTIAL_SUMS, 4 * floats * parts);
    Parallel.forRange(
        parts,
        1,
        (begin, end, worker) -> {
          for (int part = begin; part < end; part++) {
            int first = (int) ((long) part * m / parts);
            int last = (int) ((long) (part + 1) * m / parts);
            long to = sums + 4 * floats * part;
            for (int row = first; row < last; row += BLOCK) {
              int rows = Math.min(BLOCK, last - row);
              boolean add = row > first;
              block(tile, rows, n, k, r, dy.at(row, 0, 0), x.at(row, 0, 0), panelB, to, add);
              block(
                  tile,
                  rows,
                  k,
                  n,
                  r,
                  x.at(row, 0, 0),
                  dy.at(row, 0, 0),
                  panelA,
                  to + 4L * r * k,
                  add);
            }
          }
        });
    tile.addRows(parts - 1, (int) floats, sums + 4 * floats, floats, sums, 0);
    scale(sums, floats, scale);
    Memory.copy(sums, da, 4L * r * k);
    long dbTransposed = sums + 4L * r * k;
    for (int j = 0; j < n; j++) {
      for (int q = 0; q < r; q++) {
        Memory.putFloat(
            db + 4 * ((long) j * r + q), Memory.getFloat(dbTransposed + 4 * ((long) q * n + j)));
      }
    }
  }

  /**
   * {@code sums [r, columns] (+)= (left F)ᵀ right} for some rows of left [rows, depth] and right
   * [rows, columns]; the panels hold F [depth, r].
   */
  private static void block(
      GemmTile tile,
      int rows,
      int depth,
      int columns,
      int r,
      Matrix left,
      Matrix right,
      long panels,
      long sums,
      boolean add) {
    long low = Scratch.get(Scratch.Slot.ROW, 4L * rows * r);
    product(tile, rows, r, depth, left, panels, true, 0, low, r, false);
    Matrix lowTransposed = new Matrix(low, 1, r, 0);
    product(
        tile,
        r,
        columns,
        rows,
        lowTransposed,
        right.address(),
        false,
        right.rowStride(),
        sums,
        columns,
        add);
  }

  /** A small product with packed panels, or with a B whose rows are whole vectors. */
  private static void product(
      GemmTile tile,
      int m,
      int n,
      int k,
      Matrix a,
      long b,
      boolean packed,
      long rowStrideB,
      long c,
      long ldc,
      boolean add) {
    int full = Panels.fullWidth(tile);
    for (int j = 0; j < n; j += full) {
      int columns = Math.min(full, n - j);
      Panels.multiply(
          tile,
          m,
          columns,
          k,
          a.address(),
          tile.maxRows() * a.rowStride(),
          a.rowStride(),
          a.colStride(),
          b + 4L * (packed ? (long) j * k : j),
          packed ? Panels.width(tile, columns) : rowStrideB,
          c + 4L * j,
          ldc,
          add);
    }
  }

  /** The four products one after the other. */
  private static void separately(
      int m,
      int n,
      int k,
      int r,
      Matrix dy,
      Matrix x,
      Matrix a,
      Matrix b,
      float scale,
      long da,
      long db) {
    long low = Scratch.get(Scratch.Slot.LOW_RANK, 4L * m * r);
    Matrix rows = Matrix.rowMajor(low, r);
    Gemm.multiply(1, m, r, n, dy, b, rows, false, 0);
    scale(low, (long) m * r, scale);
    Gemm.multiply(1, r, k, m, rows.transposed(), x, Matrix.rowMajor(da, k), false, 0);
    Gemm.multiply(1, m, r, k, x, a.transposed(), rows, false, 0);
    scale(low, (long) m * r, scale);
    Gemm.multiply(1, n, r, m, dy.transposed(), rows, Matrix.rowMajor(db, r), false, 0);
  }
}
