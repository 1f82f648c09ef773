// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import org.jspecify.annotations.Nullable;

/**
 * The innermost loops of every matrix product and convolution: a tile of at most {@link #maxRows()}
 * rows by at most {@link #maxVectors()} vectors of f32 columns,
 *
 * <pre>
 *   C[r, j] (+)= sum over p &lt; k of A[r, p] * B[p, j],   0 &lt;= r &lt; rows, 0 &lt;= j &lt; vectors * lanes()
 * </pre>
 *
 * <p>All operands are absolute addresses of floats; all strides count floats. Element {@code A[r,
 * p]} lies at {@code a + 4 * (r * rowStrideA + p * colStrideA)}, so A is read where it is,
 * transposed or not. Columns of B and C are contiguous; their rows lie {@code ldb} and {@code ldc}
 * floats apart. Each element is one chain of products in the order of {@code p}: its value depends
 * neither on the tile shape nor on its place in the tile. Nothing is checked.
 */
public interface GemmTile {
  /** The most rows a tile may have on any processor. */
  int MAX_ROWS = 14;

  /** The most vectors a tile may be wide on any processor. */
  int MAX_VECTORS = 4;

  /** Columns of A that fit between two rows {@link #pitch()} apart. */
  int PITCHED_COLUMNS = 256;

  /** The number of rows of the fastest tile. */
  int maxRows();

  /**
   * The rows that the next tile should have, so that all that are left are done soonest.
   *
   * @param left the rows that are left, at least 1
   * @return at least 1 and at most {@link #maxRows()}
   */
  int nextRows(int left);

  /** The number of floats in one vector of columns. */
  int lanes();

  /** The most vectors a tile may be wide. */
  int maxVectors();

  /**
   * The distance, in floats, at which rows of A are read in place as fast as from a slab, if any
   * is: an odd number of vectors, so that columns spread in caches.
   */
  default int pitch() {
    return PITCHED_COLUMNS + lanes();
  }

  /**
   * The columns of C from which it pays to rearrange A into slabs {@code [k][maxRows()]} for the
   * product with full panels {@code [k][maxVectors() * lanes()]}.
   */
  default int slabColumns() {
    return Integer.MAX_VALUE;
  }

  /** The processor's matrix unit, which is faster from some size on, or null if there is none. */
  default @Nullable MatrixUnit unit() {
    return null;
  }

  /**
   * Rearranges the first columns of {@link #maxRows()} rows that lie along {@code k} into a slab,
   * {@code slab[p, r] = A[r, p]}.
   *
   * @param k the columns there are
   * @param a address of A
   * @param rowStrideA floats from one row of A to the next
   * @param slab address of the slab
   * @return how many columns were rearranged, from none to all; the others are left to the caller
   */
  default int packColumns(int k, long a, long rowStrideA, long slab) {
    return 0;
  }

  /**
   * Writes columns that lie along {@code k} as rows, {@code to[p, i] = scale * from[i, p]}, as far
   * as vectors do that: all but the last columns, fewer than a vector, and all but the last p. Nine
   * columns whose rows follow one another in the result are done, too.
   *
   * @param k the length of the columns
   * @param columns the number of columns
   * @param scale a factor
   * @param from address of the columns
   * @param fromStride floats from one column to the next
   * @param to address of the result
   * @param toStride floats between rows of the result
   * @return how many p were done of whole vectors of columns; the others are left to the caller
   */
  default int transposeColumns(
      int k, int columns, float scale, long from, long fromStride, long to, long toStride) {
    return 0;
  }

  /**
   * Computes {@code C = A B}.
   *
   * @param rows a number that {@link #nextRows} gives
   * @param vectors 1 to {@link #maxVectors()}
   * @param k the length of the sums, at least 0
   * @param a address of A
   * @param rowStrideA floats from one row of A to the next
   * @param colStrideA floats from one column of A to the next
   * @param b address of B
   * @param ldb floats from one row of B to the next
   * @param c address of C
   * @param ldc floats from one row of C to the next
   */
  void store(
      int rows,
      int vectors,
      int k,
      long a,
      long rowStrideA,
      long colStrideA,
      long b,
      long ldb,
      long c,
      long ldc);

  /**
   * Computes {@code C = D + A B}; the product is summed first and then added to D. D may be C, or
   * one row for all ({@code ldd} 0), as a bias is.
   *
   * @param rows a number that {@link #nextRows} gives
   * @param vectors 1 to {@link #maxVectors()}
   * @param k the length of the sums, at least 0
   * @param a address of A
   * @param rowStrideA floats from one row of A to the next
   * @param colStrideA floats from one column of A to the next
   * @param b address of B
   * @param ldb floats from one row of B to the next
   * @param d address of D, whose columns are contiguous
   * @param ldd floats from one row of D to the next
   * @param c address of C
   * @param ldc floats from one row of C to the next
   */
  void sum(
      int rows,
      int vectors,
      int k,
      long a,
      long rowStrideA,
      long colStrideA,
      long b,
      long ldb,
      long d,
      long ldd,
      long c,
      long ldc);

  /** Computes {@code C += A B}, see {@link #sum}. */
  default void accumulate(
      int rows,
      int vectors,
      int k,
      long a,
      long rowStrideA,
      long colStrideA,
      long b,
      long ldb,
      long c,
      long ldc) {
    sum(rows, vectors, k, a, rowStrideA, colStrideA, b, ldb, c, ldc, c, ldc);
  }

  /**
   * Copies rows: {@code to[r, j] = from[r, j]}, {@code j < n}.
   *
   * @param rows the number of rows
   * @param n floats per row
   * @param from address of the source
   * @param fromStride floats from one row of the source to the next
   * @param to address of the destination, apart from the source
   * @param toStride floats from one row of the destination to the next
   */
  void copyRows(int rows, int n, long from, long fromStride, long to, long toStride);

  /**
   * Adds rows: {@code to[r, j] += from[r, j]}, {@code j < n}.
   *
   * @param rows the number of rows
   * @param n floats per row
   * @param from address of the addends
   * @param fromStride floats from one row of the addends to the next
   * @param to address of the sums
   * @param toStride floats from one row of the sums to the next
   */
  void addRows(int rows, int n, long from, long fromStride, long to, long toStride);

  /**
   * Puts sums that were formed apart into C: adds them to it, or stores them and adds a row to all.
   *
   * @param rows the number of rows
   * @param n floats per row
   * @param sums address of the sums
   * @param stride floats from one row of the sums to the next
   * @param bias address of the row that is added, or 0; not with {@code accumulate}
   * @param c address of C
   * @param ldc floats from one row of C to the next
   * @param accumulate whether to add to C
   */
  default void deliver(
      int rows, int n, long sums, long stride, long bias, long c, long ldc, boolean accumulate) {
    if (accumulate) {
      addRows(rows, n, sums, stride, c, ldc);
      return;
    }
    copyRows(rows, n, sums, stride, c, ldc);
    if (bias != 0) {
      addRows(rows, n, bias, 0, c, ldc);
    }
  }
}
