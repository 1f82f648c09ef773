// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.Gemm.Matrix;
import io.sfumato.tensor.cpu.Gemm.Term;

/**
 * A part of a product on a {@link MatrixUnit}. Where a slab or a panel holds values that cannot be
 * split, their product is formed by {@link GemmTile}s from the operands themselves; so what is
 * computed how depends on values and sizes alone.
 */
final class SplitPart implements GemmBlock.Part {
  private static final int K_BLOCK = SplitOperands.K_BLOCK;
  private static final int SIDE = SplitOperands.SIDE;

  private final GemmTile tile;
  private final MatrixUnit unit;
  private final int batch;
  private final int n;
  private final int k;
  private final Matrix a;
  private final Matrix b;
  private final Matrix c;
  private final int panels;
  private final boolean packed; // by the caller, over the whole depth of the term
  private final int depth; // rows of a packed panel
  private final int skipped; // rows of a packed panel before this part
  private final long batchBytes; // from the panels of one product to those of the next
  private long panelsAt;

  SplitPart(
      GemmTile tile, MatrixUnit unit, int batch, int n, Term term, int first, int k, Matrix c) {
    this.tile = tile;
    this.unit = unit;
    this.batch = batch;
    this.n = n;
    this.k = k;
    this.c = c;
    a = term.a().at(0, first, 0);
    b = term.b().at(first, 0, 0);
    panels = SplitOperands.count(n);
    packed = term.panels() != 0;
    depth = packed ? term.k() : k;
    skipped = packed ? first : 0;
    batchBytes = b.batchStride() == 0 ? 0 : SplitOperands.allBytes(k, n);
    panelsAt = term.panels();
  }

  @Override
  public long floats() {
    return packed ? 0 : SplitOperands.allBytes(k, n) / 4 * products();
  }

  @Override
  public void place(long at) {
    if (floats() > 0) {
      panelsAt = at;
    }
  }

  @Override
  public int count() {
    return panels * products();
  }

  private int products() {
    return b.batchStride() == 0 ? 1 : batch;
  }

  /** Address of a panel from row {@code p} of this part on. */
  private long panel(int product, int panel, int p) {
    return panelsAt
        + product * batchBytes
        + panel * SplitOperands.panelBytes(depth)
        + (skipped + p) / K_BLOCK * SplitOperands.bytes(K_BLOCK);
  }

  @Override
  public void pack(int begin, int end) {
    int last;
    for (int i = begin; i < end; i = last) {
      int product = i / panels;
      last = Math.min(end, (product + 1) * panels);
      SplitOperands.panels(
          tile,
          unit,
          k,
          n,
          i - product * panels,
          last - product * panels,
          b.at(0, 0, product),
          panelsAt + product * batchBytes);
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
      boolean add) {
    boolean sum = add;
    for (int p = 0; p < k; p += K_BLOCK) {
      int length = Math.min(K_BLOCK, k - p);
      long slabBytes = SplitOperands.bytes(length);
      int slabs = SplitOperands.count(rows);
      long left = Scratch.get(Scratch.Slot.PACKED_A, slabs * slabBytes);
      boolean fit = true;
      for (int s = 0; s < slabs; s++) {
        Matrix block = a.at(row + s * SIDE, p, product);
        SplitOperands.slab(
            tile,
            unit,
            Math.min(SIDE, rows - s * SIDE),
            length,
            block.address(),
            block.rowStride(),
            block.colStride(),
            left + s * slabBytes);
        fit &= !SplitOperands.isUnfit(left + s * slabBytes);
      }
      for (int panel = firstPanel; panel < lastPanel; panel++) {
        fit &= !SplitOperands.isUnfit(panel(product, panel, p));
      }
      int together = fit ? lastPanel - firstPanel : 1;
      int high = fit ? rows : SIDE;
      for (int panel = firstPanel; panel < lastPanel; panel += together) {
        int j = panel * SIDE;
        int columns = Math.min(together * SIDE, n - j);
        long right = panel(product, panel, p);
        long bias = sum || start == 0 ? 0 : start + 4L * j;
        for (int r = 0; r < rows; r += high) {
          int some = Math.min(high, rows - r);
          long from = left + r / SIDE * slabBytes;
          long to = out + 4 * (r * c.rowStride() + j);
          if (fit || !SplitOperands.isUnfit(from) && !SplitOperands.isUnfit(right)) {
            SplitOperands.multiply(
                tile,
                unit,
                some,
                columns,
                length,
                from,
                right,
                SplitOperands.panelBytes(depth),
                bias,
                to,
                c.rowStride(),
                sum);
          } else {
            byTiles(product, row + r, some, j, columns, p, length, bias, to, sum);
          }
        }
      }
      sum = true;
    }
  }

  /** Some rows and columns without the unit. */
  private void byTiles(
      int product,
      int row,
      int rows,
      int j,
      int columns,
      int p,
      int length,
      long bias,
      long to,
      boolean sum) {
    Matrix left = a.at(row, p, product);
    int full = Panels.fullWidth(tile);
    for (int first = 0; first < columns; first += full) {
      int some = Math.min(full, columns - first);
      int width = Panels.width(tile, some);
      Matrix right = b.at(p, j + first, product);
      long panel = Scratch.get(Scratch.Slot.SUMS, 4L * length * width);
      Panels.pack(tile, length, some, right.address(), right.rowStride(), right.colStride(), panel);
      Panels.multiply(
          tile,
          rows,
          some,
          length,
          left.address(),
          tile.maxRows() * left.rowStride(),
          left.rowStride(),
          left.colStride(),
          panel,
          width,
          bias == 0 ? 0 : bias + 4L * first,
          to + 4L * first,
          c.rowStride(),
          sum);
    }
  }
}
