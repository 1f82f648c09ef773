// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * Rearranged operands of matrix products, and the product of a block of rows with one of them.
 *
 * <ul>
 *   <li>A <em>panel</em> holds up to {@code maxVectors * lanes} columns of B as rows {@code
 *       [k][width]}, where the width is the number of columns rounded up to whole vectors; the rest
 *       is zero.
 *   <li>A <em>slab</em> holds {@code maxRows} rows of A as {@code [k][maxRows]}; what lies beyond
 *       the last row of A is unspecified.
 * </ul>
 */
final class Panels {
  private static final int SLAB_COLUMNS = 16;

  private Panels() {}

  /** The number of columns of a full panel. */
  static int fullWidth(GemmTile tile) {
    return tile.lanes() * tile.maxVectors();
  }

  /** {@code columns} rounded up to whole vectors. */
  static int width(GemmTile tile, int columns) {
    int lanes = tile.lanes();
    return (columns + lanes - 1) / lanes * lanes;
  }

  /** {@code rows} rounded up to whole tiles. */
  static int wholeTiles(GemmTile tile, int rows) {
    int height = tile.maxRows();
    return (rows + height - 1) / height * height;
  }

  /** The panels for {@code n} columns. */
  static int count(GemmTile tile, int n) {
    int full = fullWidth(tile);
    return (n + full - 1) / full;
  }

  /** The floats of all panels for {@code k} rows and {@code n} columns. */
  static long floats(GemmTile tile, long k, int n) {
    return k * width(tile, n);
  }

  /**
   * Packs a panel of a matrix with any strides.
   *
   * @param tile the tiles that will read it
   * @param k rows
   * @param columns columns, at most a full panel
   * @param b address of the first element
   * @param rowStride floats between rows
   * @param colStride floats between columns
   * @param panel address of the result
   */
  static void pack(
      GemmTile tile, int k, int columns, long b, long rowStride, long colStride, long panel) {
    int width = width(tile, columns);
    if (columns < width) {
      for (int p = 0; p < k; p++) {
        Memory.zero(panel + 4L * p * width + 4L * columns, 4L * (width - columns));
      }
    }
    if (colStride == 1) {
      tile.copyRows(k, columns, b, rowStride, panel, width);
      return;
    }
    transpose(tile, k, columns, 1f, b, rowStride, colStride, panel, width);
  }

  /** Packs all panels of a matrix [k, n], one after the other, on the calling thread. */
  static void packAll(GemmTile tile, int k, int n, Gemm.Matrix b, long panels) {
    int full = fullWidth(tile);
    for (int j = 0; j < n; j += full) {
      int columns = Math.min(full, n - j);
      Gemm.Matrix block = b.at(0, j, 0).floats(k, columns, Scratch.Slot.WIDENED);
      long panel = panels + 4L * j * k;
      pack(tile, k, columns, block.address(), block.rowStride(), block.colStride(), panel);
    }
  }

  /**
   * Columns as rows, {@code to[p, i] = scale from[p, i]}.
   *
   * @param tile the tiles that will read them
   * @param k the length of the columns
   * @param columns the number of columns
   * @param scale a factor
   * @param from address of the first element
   * @param rowStride floats from an element to the next of its column
   * @param colStride floats from one column to the next
   * @param to address of the result
   * @param toStride floats between rows of the result
   */
  static void transpose(
      GemmTile tile,
      int k,
      int columns,
      float scale,
      long from,
      long rowStride,
      long colStride,
      long to,
      long toStride) {
    int done =
        rowStride == 1
            ? tile.transposeColumns(k, columns, scale, from, colStride, to, toStride)
            : 0;
    if (done > 0) {
      int whole = columns / tile.lanes() * tile.lanes();
      long rest = from + 4 * whole * colStride;
      scalarTranspose(
          done, columns - whole, scale, rest, rowStride, colStride, to + 4L * whole, toStride);
    }
    long last = from + 4 * done * rowStride;
    long toLast = to + 4 * done * toStride;
    scalarTranspose(k - done, columns, scale, last, rowStride, colStride, toLast, toStride);
  }

  /**
   * The same by scalars, for {@code from} that lies along {@code p}: eight streams are read, and
   * half a cache line is written at a time.
   *
   * <p>One method of more than 325 bytecodes, which the compiler never inlines: in a large caller
   * its budget may end, and each access to memory would be a call from there on.
   */
  private static void scalarTranspose(
      int k,
      int columns,
      float scale,
      long from,
      long rowStride,
      long colStride,
      long to,
      long toStride) {
    long c = 4 * colStride;
    long step = 4 * rowStride;
    long toStep = 4 * toStride;
    int i = 0;
    for (; i + 8 <= columns; i += 8) {
      long s0 = from + i * c;
      long s1 = s0 + c;
      long s2 = s1 + c;
      long s3 = s2 + c;
      long s4 = s3 + c;
      long s5 = s4 + c;
      long s6 = s5 + c;
      long s7 = s6 + c;
      long t = to + 4L * i;
      long o = 0;
      for (int p = 0; p < k; p++) {
        Memory.putFloat(t, scale * Memory.getFloat(s0 + o));
        Memory.putFloat(t + 4, scale * Memory.getFloat(s1 + o));
        Memory.putFloat(t + 8, scale * Memory.getFloat(s2 + o));
        Memory.putFloat(t + 12, scale * Memory.getFloat(s3 + o));
        Memory.putFloat(t + 16, scale * Memory.getFloat(s4 + o));
        Memory.putFloat(t + 20, scale * Memory.getFloat(s5 + o));
        Memory.putFloat(t + 24, scale * Memory.getFloat(s6 + o));
        Memory.putFloat(t + 28, scale * Memory.getFloat(s7 + o));
        o += step;
        t += toStep;
      }
    }
    for (; i < columns; i++) {
      long s = from + i * c;
      long t = to + 4L * i;
      for (int p = 0; p < k; p++) {
        Memory.putFloat(t, scale * Memory.getFloat(s));
        s += step;
        t += toStep;
      }
    }
  }

  /**
   * Packs a slab of a matrix with any strides.
   *
   * @param tile the tiles that will read it
   * @param rows rows, at most {@link GemmTile#maxRows()}
   * @param k columns
   * @param a address of the first element
   * @param rowStride floats between rows
   * @param colStride floats between columns
   * @param slab address of the result
   */
  static void packSlab(
      GemmTile tile, int rows, int k, long a, long rowStride, long colStride, long slab) {
    int height = tile.maxRows();
    if (rowStride == 1 && rows == 4 && height == 4) {
      packSlab4(k, a, 4 * colStride, slab);
      return;
    }
    if (rowStride == 1 && rows == 6 && height == 6) {
      packSlab6(k, a, 4 * colStride, slab);
      return;
    }
    if (rowStride == 1 && rows == 14 && height == 14) {
      packSlab14(k, a, 4 * colStride, slab);
      return;
    }
    int done = colStride == 1 && rows == height ? tile.packColumns(k, a, rowStride, slab) : 0;
    long left = a + 4 * done * colStride;
    long to = slab + 4L * done * height;
    if (colStride == 1 && rows == 6 && height == 6) {
      packRows6(k - done, left, 4 * rowStride, to);
      return;
    }
    transpose(tile, k - done, rows, 1f, left, colStride, rowStride, to, height);
  }

  /** Six rows that lie along {@code k}, two values at a time. */
  private static void packRows6(int k, long a, long step, long slab) {
    long a1 = a + step;
    long a2 = a1 + step;
    long a3 = a2 + step;
    long a4 = a3 + step;
    long a5 = a4 + step;
    long end = 4L * k;
    for (long o = 0; o < end; o += 4) {
      Memory.putLong(slab, pair(a + o, a1 + o));
      Memory.putLong(slab + 8, pair(a2 + o, a3 + o));
      Memory.putLong(slab + 16, pair(a4 + o, a5 + o));
      slab += 24;
    }
  }

  private static long pair(long low, long high) {
    return Memory.getInt(low) & 0xffffffffL | (long) Memory.getInt(high) << 32;
  }

  private static void packSlab4(int k, long a, long step, long slab) {
    for (int p = 0; p < k; p++) {
      Memory.putLong(slab, Memory.getLong(a));
      Memory.putLong(slab + 8, Memory.getLong(a + 8));
      a += step;
      slab += 16;
    }
  }

  private static void packSlab6(int k, long a, long step, long slab) {
    for (int p = 0; p < k; p++) {
      Memory.putLong(slab, Memory.getLong(a));
      Memory.putLong(slab + 8, Memory.getLong(a + 8));
      Memory.putLong(slab + 16, Memory.getLong(a + 16));
      a += step;
      slab += 24;
    }
  }

  private static void packSlab14(int k, long a, long step, long slab) {
    for (int p = 0; p < k; p++) {
      Memory.putLong(slab, Memory.getLong(a));
      Memory.putLong(slab + 8, Memory.getLong(a + 8));
      Memory.putLong(slab + 16, Memory.getLong(a + 16));
      Memory.putLong(slab + 24, Memory.getLong(a + 24));
      Memory.putLong(slab + 32, Memory.getLong(a + 32));
      Memory.putLong(slab + 40, Memory.getLong(a + 40));
      Memory.putLong(slab + 48, Memory.getLong(a + 48));
      a += step;
      slab += 56;
    }
  }

  /**
   * Packs rows of a matrix with any strides to slabs, one after the other. Unless rows lie along
   * {@code k}, a few columns at a time go to all slabs, so that a cache line that holds the rows of
   * several slabs is read once.
   *
   * @param tile the tiles that will read them
   * @param rows rows
   * @param k columns
   * @param a address of the first element
   * @param rowStride floats between rows
   * @param colStride floats between columns
   * @param slabs address of the result
   */
  static void packSlabs(
      GemmTile tile, int rows, int k, long a, long rowStride, long colStride, long slabs) {
    int height = tile.maxRows();
    int most = colStride == 1 ? k : SLAB_COLUMNS;
    for (int p = 0; p < k; p += most) {
      int columns = Math.min(most, k - p);
      long from = a + 4 * p * colStride;
      for (int r = 0; r < rows; r += height) {
        packSlab(
            tile,
            Math.min(height, rows - r),
            columns,
            from + 4 * r * rowStride,
            rowStride,
            colStride,
            slabs + 4 * ((long) r * k + (long) p * height));
      }
    }
  }

  /**
   * The product of a block of rows with one panel: {@code C[r, j] (+)= sum_p A[r, p] panel[p, j]}.
   *
   * @param tile the tiles
   * @param rows rows of A and C
   * @param columns columns of C, at most a full panel
   * @param k the length of the sums
   * @param a address of {@code A[0, 0]}
   * @param slabStride floats from one group of {@link GemmTile#maxRows()} rows to the next
   * @param rowStride floats between the rows of a group
   * @param colStride floats between columns of A
   * @param panel address of the panel
   * @param ldb floats between rows of the panel; it is read to whole vectors
   * @param c address of {@code C[0, 0]}
   * @param ldc floats between rows of C
   * @param accumulate whether to add to C
   */
  static void multiply(
      GemmTile tile,
      int rows,
      int columns,
      int k,
      long a,
      long slabStride,
      long rowStride,
      long colStride,
      long panel,
      long ldb,
      long c,
      long ldc,
      boolean accumulate) {
    multiply(
        tile,
        rows,
        columns,
        k,
        a,
        slabStride,
        rowStride,
        colStride,
        panel,
        ldb,
        0,
        c,
        ldc,
        accumulate);
  }

  /**
   * As {@link #multiply(GemmTile, int, int, int, long, long, long, long, long, long, long, long,
   * boolean)}, with a bias added to each row.
   *
   * @param bias address of the bias, or 0; only with {@code accumulate} false
   */
  static void multiply(
      GemmTile tile,
      int rows,
      int columns,
      int k,
      long a,
      long slabStride,
      long rowStride,
      long colStride,
      long panel,
      long ldb,
      long bias,
      long c,
      long ldc,
      boolean accumulate) {
    int lanes = tile.lanes();
    int vectors = (columns + lanes - 1) / lanes;
    int width = vectors * lanes;
    boolean whole = columns == width;
    long scratch =
        whole ? 0 : Scratch.get(Scratch.Slot.TILE, 4L * GemmTile.MAX_ROWS * fullWidth(tile));
    int height = tile.maxRows();
    boolean even = slabStride == height * rowStride;
    int r = 0;
    while (r < rows) {
      int inSlab = even ? 0 : r % height;
      // a tile stays in its slab
      int count = tile.nextRows(even ? rows - r : Math.min(rows - r, height - inSlab));
      long from = a + 4 * (even ? r * rowStride : r / height * slabStride + inSlab * rowStride);
      long to = c + 4 * r * ldc;
      if (!whole) {
        tile.store(count, vectors, k, from, rowStride, colStride, panel, ldb, scratch, width);
        tile.deliver(count, columns, scratch, width, bias, to, ldc, accumulate);
      } else if (bias != 0) {
        tile.sum(count, vectors, k, from, rowStride, colStride, panel, ldb, bias, 0, to, ldc);
      } else if (accumulate) {
        tile.accumulate(count, vectors, k, from, rowStride, colStride, panel, ldb, to, ldc);
      } else {
        tile.store(count, vectors, k, from, rowStride, colStride, panel, ldb, to, ldc);
      }
      r += count;
    }
  }
}
