// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * Tiles done two rows at a time by another's loops, which are methods of their own to the compiler.
 * All sizes, so layouts of packed operands too, and all results are the other's, bit for bit.
 */
final class SplitTile implements GemmTile {
  private static final int ROWS = 2;

  private final GemmTile tile;

  SplitTile(GemmTile tile) {
    this.tile = tile;
  }

  @Override
  public int maxRows() {
    return tile.maxRows();
  }

  @Override
  public int nextRows(int left) {
    return tile.nextRows(left);
  }

  @Override
  public int lanes() {
    return tile.lanes();
  }

  @Override
  public int maxVectors() {
    return tile.maxVectors();
  }

  @Override
  public int slabColumns() {
    return tile.slabColumns();
  }

  @Override
  public int transposeColumns(
      int k, int columns, float scale, long from, long fromStride, long to, long toStride) {
    return tile.transposeColumns(k, columns, scale, from, fromStride, to, toStride);
  }

  @Override
  public int packColumns(int k, long a, long rowStrideA, long slab) {
    return tile.packColumns(k, a, rowStrideA, slab);
  }

  @Override
  public void store(
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
    for (int r = 0; r < rows; r += ROWS) {
      int some = Math.min(ROWS, rows - r);
      long left = a + 4 * r * rowStrideA;
      tile.store(some, vectors, k, left, rowStrideA, colStrideA, b, ldb, c + 4 * r * ldc, ldc);
    }
  }

  @Override
  public void sum(
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
      long ldc) {
    for (int r = 0; r < rows; r += ROWS) {
      int some = Math.min(ROWS, rows - r);
      long left = a + 4 * r * rowStrideA;
      long addends = d + 4 * r * ldd;
      long out = c + 4 * r * ldc;
      tile.sum(some, vectors, k, left, rowStrideA, colStrideA, b, ldb, addends, ldd, out, ldc);
    }
  }

  @Override
  public void copyRows(int rows, int n, long from, long fromStride, long to, long toStride) {
    tile.copyRows(rows, n, from, fromStride, to, toStride);
  }

  @Override
  public void addRows(int rows, int n, long from, long fromStride, long to, long toStride) {
    tile.addRows(rows, n, from, fromStride, to, toStride);
  }
}
