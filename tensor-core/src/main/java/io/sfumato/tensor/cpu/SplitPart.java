// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.Gemm.Matrix;
import io.sfumato.tensor.cpu.Gemm.Term;

/**
 * A part of a product on a {@link MatrixUnit}. Where a slab or a panel holds values that cannot be
 * split, their product is formed by {@link GemmTile}s from the operands themselves; so what is
 * computed how depends on values and sizes alone.
 */
final class SplitPart extends TermPart {
  private static final int K_BLOCK = SplitOperands.K_BLOCK;
  private static final int SIDE = SplitOperands.SIDE;

  private final MatrixUnit unit;

  SplitPart(GemmTile tile, MatrixUnit unit, int batch, int n, Term term, int first, int k) {
    super(tile, batch, n, SplitOperands.count(n), term, first, k);
    this.unit = unit;
  }

  @Override
  boolean packs() {
    return !packed;
  }

  @Override
  long productFloats() {
    return SplitOperands.allBytes(k, n) / 4;
  }

  /** Address of a panel from row {@code p} of this part on. */
  private long panel(int product, int panel, int p) {
    return panelsOf(product)
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
          panelsOf(product));
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
    boolean sum = add;
    for (int p = 0; p < k; p += K_BLOCK) {
      int length = Math.min(K_BLOCK, k - p);
      long slabBytes = SplitOperands.bytes(length);
      int slabs = SplitOperands.count(rows);
      long left = Scratch.get(Scratch.Slot.PACKED_A, slabs * slabBytes);
      boolean fit = true;
      for (int s = 0; s < slabs; s++) {
        int high = Math.min(SIDE, rows - s * SIDE);
        Matrix block = a.at(row + s * SIDE, p, product).floats(high, length, Scratch.Slot.WIDENED);
        SplitOperands.slab(
            tile,
            unit,
            high,
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
          long to = out + 4 * (r * ldc + j);
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
                ldc,
                sum);
          } else {
            byTiles(product, row + r, some, j, columns, p, length, bias, to, ldc, sum);
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
      long ldc,
      boolean sum) {
    Matrix left = a.at(row, p, product).floats(rows, length, Scratch.Slot.WIDENED_ROWS);
    int full = Panels.fullWidth(tile);
    for (int first = 0; first < columns; first += full) {
      int some = Math.min(full, columns - first);
      int width = Panels.width(tile, some);
      Matrix right = b.at(p, j + first, product).floats(length, some, Scratch.Slot.WIDENED);
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
          ldc,
          sum);
    }
  }
}
