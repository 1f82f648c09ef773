// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.Gemm.Matrix;
import io.sfumato.tensor.cpu.Gemm.Term;

/** A part of a product by {@link GemmTile}s: B in {@link Panels}, A where it lies or in slabs. */
final class PackedPart extends TermPart {
  /** Rows of B that are packed at a time. */
  private static final int STRIP = 16;

  private final int m;
  private final int full;
  private final int height;
  private final int kBlock;
  private final boolean packB;

  PackedPart(GemmTile tile, int batch, int m, int n, Term term, int first, int k) {
    super(tile, batch, n, Panels.count(tile, n), term, first, k);
    this.m = m;
    full = Panels.fullWidth(tile);
    height = tile.maxRows();
    kBlock = Gemm.kBlock(term.k());
    boolean inPlaceB = b.isFloat() && b.colStride() == 1 && n % tile.lanes() == 0;
    packB = !packed && !(inPlaceB && (Gemm.fewRows(m) || (panels == 1 && b.rowStride() == n)));
  }

  @Override
  boolean packs() {
    return packB;
  }

  @Override
  long productFloats() {
    return Panels.floats(tile, k, n);
  }

  @Override
  public void pack(int begin, int end) {
    // some rows of all panels at a time: where rows lie along n, they are read as they lie
    int strip = b.colStride() == 1 ? STRIP : k;
    for (int p = 0; p < k; p += strip) {
      int length = Math.min(strip, k - p);
      for (int i = begin; i < end; i++) {
        int product = i / panels;
        int j = i % panels * full;
        int columns = Math.min(full, n - j);
        Matrix block = b.at(p, j, product).floats(length, columns, Scratch.Slot.WIDENED);
        long to = panelsOf(product) + 4 * ((long) j * k + (long) p * Panels.width(tile, columns));
        Panels.pack(
            tile, length, columns, block.address(), block.rowStride(), block.colStride(), to);
      }
    }
  }

  @Override
  public void multiply(
      int product,
      int row,
      int rows,
      int firstPanel,
      int lastPanel,
      long start,
      long out,
      long ldc,
      boolean add) {
    Matrix left = a.at(row, 0, product);
    int columns = Math.min(n, lastPanel * full) - firstPanel * full;
    boolean packA = !Gemm.fewRows(m) && (a.colStride() != 1 || columns >= tile.slabColumns());
    boolean sum = add;
    for (int p = 0; p < k; p += kBlock) {
      int length = Math.min(kBlock, k - p);
      Matrix from = left.at(0, p, 0).floats(rows, length, Scratch.Slot.WIDENED);
      long block = from.address();
      long slabStride = height * from.rowStride();
      long rowStride = from.rowStride();
      long colStride = from.colStride();
      if (packA) {
        block = packBlock(rows, length, from);
        slabStride = (long) height * length;
        rowStride = 1;
        colStride = height;
      }
      for (int panel = firstPanel; panel < lastPanel; panel++) {
        int j = panel * full;
        int width = Math.min(full, n - j);
        long ldb = packB || packed ? Panels.width(tile, width) : b.rowStride();
        Panels.multiply(
            tile,
            rows,
            width,
            length,
            block,
            slabStride,
            rowStride,
            colStride,
            right(product, j, p, ldb),
            ldb,
            sum || start == 0 ? 0 : start + 4L * j,
            out + 4L * j,
            ldc,
            sum);
      }
      sum = true;
    }
  }

  private long packBlock(int rows, int length, Matrix from) {
    int slabs = (rows + height - 1) / height;
    long to = Scratch.get(Scratch.Slot.PACKED_A, 4L * slabs * height * length);
    Panels.packSlabs(tile, rows, length, from.address(), from.rowStride(), from.colStride(), to);
    return to;
  }

  private long right(int product, int j, int p, long ldb) {
    return packB || packed
        ? panelsOf(product) + 4 * ((long) j * depth + (skipped + p) * ldb)
        : b.address() + 4 * (product * b.batchStride() + j + p * ldb);
  }
}
