// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.Gemm.Matrix;

/**
 * A product whose rearranged operands fit the work space: first all panels of B and slabs of A are
 * packed, then blocks of rows times groups of panels are computed. Each element of C is written by
 * one worker, in an order that depends on the sizes alone.
 */
final class GemmBlock {
  private final GemmTile tile;
  private final int batch;
  private final int m;
  private final int n;
  private final int k;
  private final Matrix a;
  private final Matrix b;
  private final Matrix c;
  private final boolean accumulate;
  private final long bias;

  private final int full;
  private final int height;
  private final int panels;
  private final int slabs;
  private final boolean packA;
  private final boolean packB;
  private final long panelsA;
  private final long panelsB;
  private final long packedA;
  private final long packedB;

  GemmBlock(
      GemmTile tile,
      int batch,
      int m,
      int n,
      int k,
      Matrix a,
      Matrix b,
      Matrix c,
      boolean accumulate,
      long bias) {
    this.tile = tile;
    this.batch = batch;
    this.m = m;
    this.n = n;
    this.k = k;
    this.a = a;
    this.b = b;
    this.c = c;
    this.accumulate = accumulate;
    this.bias = bias;
    full = Panels.fullWidth(tile);
    height = tile.maxRows();
    panels = Panels.count(tile, n);
    slabs = (m + height - 1) / height;
    packA = a.colStride() != 1 && !Gemm.fewRows(m);
    boolean inPlaceB = b.colStride() == 1 && n % tile.lanes() == 0;
    packB = !inPlaceB || !(Gemm.fewRows(m) || (panels == 1 && b.rowStride() == n));
    panelsB = packB ? Panels.floats(tile, k, n) : 0;
    panelsA = packA ? (long) slabs * height * k : 0;
    packedB =
        packB
            ? Scratch.get(Scratch.Slot.PACKED_B, 4 * panelsB * (b.batchStride() == 0 ? 1 : batch))
            : 0;
    packedA =
        packA
            ? Scratch.get(Scratch.Slot.PACKED_A, 4 * panelsA * (a.batchStride() == 0 ? 1 : batch))
            : 0;
  }

  void run(int threads) {
    boolean serial = threads == 1;
    if (packB) {
      int count = panels * (b.batchStride() == 0 ? 1 : batch);
      Parallel.forRange(count, serial ? count : 1, (begin, end, worker) -> packPanels(begin, end));
    }
    if (packA) {
      int count = slabs * (a.batchStride() == 0 ? 1 : batch);
      Parallel.forRange(count, serial ? count : 16, (begin, end, worker) -> packSlabs(begin, end));
    }
    int wanted = serial ? 1 : 4 * threads;
    int rowBlock = Gemm.rowBlock(m, height, (wanted + batch - 1) / batch);
    int rowBlocks = (m + rowBlock - 1) / rowBlock;
    int groups = Math.clamp((wanted + batch * rowBlocks - 1) / (batch * rowBlocks), 1, panels);
    int groupPanels = (panels + groups - 1) / groups;
    int groupCount = (panels + groupPanels - 1) / groupPanels;
    int items = batch * rowBlocks * groupCount;
    Parallel.forRange(
        items,
        serial ? items : 1,
        (begin, end, worker) -> {
          for (int item = begin; item < end; item++) {
            int product = item / (rowBlocks * groupCount);
            int within = item % (rowBlocks * groupCount);
            int row = within / groupCount * rowBlock;
            int panel = within % groupCount * groupPanels;
            compute(
                product,
                row,
                Math.min(rowBlock, m - row),
                panel,
                Math.min(panels, panel + groupPanels));
          }
        });
  }

  private void packPanels(int begin, int end) {
    for (int i = begin; i < end; i++) {
      int product = i / panels;
      int j = i % panels * full;
      long from = b.address() + 4 * (product * b.batchStride() + j * b.colStride());
      long to = packedB + 4 * (product * panelsB + (long) j * k);
      Panels.pack(tile, k, Math.min(full, n - j), from, b.rowStride(), b.colStride(), to);
    }
  }

  private void packSlabs(int begin, int end) {
    for (int i = begin; i < end; i++) {
      int product = i / slabs;
      int r = i % slabs * height;
      long from = a.address() + 4 * (product * a.batchStride() + r * a.rowStride());
      long to = packedA + 4 * (product * panelsA + (long) r * k);
      Panels.packSlab(tile, Math.min(height, m - r), k, from, a.rowStride(), a.colStride(), to);
    }
  }

  /** Rows {@code row} to {@code row + rows} of one product, for some panels. */
  private void compute(int product, int row, int rows, int firstPanel, int lastPanel) {
    long out = c.address() + 4 * (product * c.batchStride() + row * c.rowStride());
    int firstColumn = firstPanel * full;
    int columns = Math.min(n, lastPanel * full) - firstColumn;
    boolean add = accumulate;
    if (bias != 0 || k == 0) {
      prepare(rows, columns, out + 4L * firstColumn, bias + 4L * firstColumn);
      add = true;
    }
    long rowStride = packA ? 1 : a.rowStride();
    long colStride = packA ? height : a.colStride();
    long slabStride = packA ? (long) height * k : height * a.rowStride();
    long left =
        packA
            ? packedA + 4 * (product * (a.batchStride() == 0 ? 0 : panelsA) + (long) row * k)
            : a.address() + 4 * (product * a.batchStride() + row * a.rowStride());
    int kBlock = Gemm.kBlock(k);
    for (int p = 0; p < k; p += kBlock) {
      int length = Math.min(kBlock, k - p);
      for (int panel = firstPanel; panel < lastPanel; panel++) {
        int j = panel * full;
        int width = Math.min(full, n - j);
        long ldb = packB ? Panels.width(tile, width) : b.rowStride();
        long right =
            packB
                ? packedB
                    + 4 * (product * (b.batchStride() == 0 ? 0 : panelsB) + (long) j * k + p * ldb)
                : b.address() + 4 * (product * b.batchStride() + j + p * ldb);
        Panels.multiply(
            tile,
            rows,
            width,
            length,
            left + 4 * p * colStride,
            slabStride,
            rowStride,
            colStride,
            right,
            ldb,
            out + 4L * j,
            c.rowStride(),
            add || p > 0);
      }
    }
  }

  /** Puts what precedes the sums into C: the bias, or zero, or nothing. */
  private void prepare(int rows, int columns, long out, long from) {
    if (bias != 0 && accumulate) {
      tile.addRows(rows, columns, from, 0, out, c.rowStride());
    } else if (bias != 0) {
      tile.copyRows(rows, columns, from, 0, out, c.rowStride());
    } else if (!accumulate) {
      for (int r = 0; r < rows; r++) {
        Memory.zero(out + 4 * r * c.rowStride(), 4L * columns);
      }
    }
  }
}
