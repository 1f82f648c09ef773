// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.Gemm.Matrix;
import io.sfumato.tensor.cpu.Gemm.Term;
import java.util.ArrayList;
import java.util.List;

/**
 * A sum of products {@code C (+)= A1 B1 + A2 B2 + … (+ bias)} for a range of columns whose
 * rearranged panels fit the work space.
 *
 * <p>It goes in rounds along {@code k}. In each, the workers first pack the round's rows of B, a
 * few megabytes that stay in the shared cache; then they take blocks of rows times groups of
 * panels. A worker packs its own block of A if A is transposed, or if many columns wait for it. The
 * result of a block stays in the worker's cache while all products of the round are added to it.
 * Each element of C is written by one worker, in an order that depends on the sizes alone.
 */
final class GemmBlock {
  /** Rows of B that are packed at a time. */
  private static final int STRIP = 16;

  private final GemmTile tile;
  private final int batch;
  private final int m;
  private final int n;
  private final List<Term> terms;
  private final Matrix c;
  private final boolean accumulate;
  private final long bias;

  private final int full;
  private final int height;
  private final int panels;

  GemmBlock(
      GemmTile tile,
      int batch,
      int m,
      int n,
      List<Term> terms,
      Matrix c,
      boolean accumulate,
      long bias) {
    this.tile = tile;
    this.batch = batch;
    this.m = m;
    this.n = n;
    this.terms = terms;
    this.c = c;
    this.accumulate = accumulate;
    this.bias = bias;
    full = Panels.fullWidth(tile);
    height = tile.maxRows();
    panels = Panels.count(tile, n);
  }

  /** Rows {@code first} to {@code first + k} of one B with what they meet in A. */
  private final class Part {
    final int k;
    final int kBlock;
    final Matrix a;
    final Matrix b;
    final boolean packB;
    final boolean packed; // by the caller, over the whole depth of the term
    final long depth; // rows of a packed panel
    final long skipped; // rows of a packed panel before this part
    final long batchFloats; // from the panels of one product to those of the next
    long panelsAt;

    Part(Term term, int first, int k, int kBlock) {
      this.k = k;
      this.kBlock = kBlock;
      a = term.a().at(0, first, 0);
      b = term.b().at(first, 0, 0);
      packed = term.panels() != 0;
      boolean inPlaceB = b.colStride() == 1 && n % tile.lanes() == 0;
      packB = !packed && !(inPlaceB && (Gemm.fewRows(m) || (panels == 1 && b.rowStride() == n)));
      depth = packed ? term.k() : k;
      batchFloats = b.batchStride() == 0 ? 0 : Panels.floats(tile, k, n);
      skipped = packed ? first : 0;
      panelsAt = term.panels();
    }

    /** Floats to pack. */
    long floats() {
      return packB ? Panels.floats(tile, k, n) * (b.batchStride() == 0 ? 1 : batch) : 0;
    }

    void pack(int begin, int end) {
      // some rows of all panels at a time: where rows lie along n, they are read as they lie
      int strip = b.colStride() == 1 ? STRIP : k;
      for (int p = 0; p < k; p += strip) {
        int length = Math.min(strip, k - p);
        for (int i = begin; i < end; i++) {
          int product = i / panels;
          int j = i % panels * full;
          int columns = Math.min(full, n - j);
          Matrix block = b.at(p, j, product);
          long to =
              panelsAt
                  + 4
                      * (product * batchFloats
                          + (long) j * k
                          + (long) p * Panels.width(tile, columns));
          Panels.pack(tile, length, columns, block.address(), b.rowStride(), b.colStride(), to);
        }
      }
    }

    /** Adds {@code A B} for some rows and panels to C, or puts it there with {@code start}. */
    void multiply(
        int product,
        int row,
        int rows,
        int firstPanel,
        int lastPanel,
        long start,
        long out,
        boolean add) {
      long left = a.address() + 4 * (product * a.batchStride() + row * a.rowStride());
      int columns = Math.min(n, lastPanel * full) - firstPanel * full;
      boolean packA = !Gemm.fewRows(m) && (a.colStride() != 1 || columns >= tile.slabColumns());
      boolean sum = add;
      for (int p = 0; p < k; p += kBlock) {
        int length = Math.min(kBlock, k - p);
        long block = left + 4 * p * a.colStride();
        long slabStride = height * a.rowStride();
        long rowStride = a.rowStride();
        long colStride = a.colStride();
        if (packA) {
          block = packBlock(rows, length, block);
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
              c.rowStride(),
              sum);
        }
        sum = true;
      }
    }

    private long packBlock(int rows, int length, long from) {
      int slabs = (rows + height - 1) / height;
      long to = Scratch.get(Scratch.Slot.PACKED_A, 4L * slabs * height * length);
      Panels.packSlabs(tile, rows, length, from, a.rowStride(), a.colStride(), to);
      return to;
    }

    private long right(int product, int j, int p, long ldb) {
      return packB || packed
          ? panelsAt + 4 * (product * batchFloats + j * depth + (skipped + p) * ldb)
          : b.address() + 4 * (product * b.batchStride() + j + p * ldb);
    }
  }

  void run(int threads) {
    List<Part> round = new ArrayList<>();
    long used = 0;
    boolean first = true;
    for (Term term : terms) {
      int kBlock = Gemm.kBlock(term.k());
      long fits = Gemm.MAX_PACKED / Math.max(1, Panels.width(tile, n)) / kBlock * kBlock;
      int step = batch > 1 ? Math.max(1, term.k()) : (int) Math.clamp(fits, kBlock, 1 << 30);
      for (int p = 0; p < term.k(); p += step) {
        Part part = new Part(term, p, Math.min(step, term.k() - p), kBlock);
        if (!round.isEmpty() && used + part.floats() > Gemm.MAX_PACKED) {
          round(round, first, threads);
          round.clear();
          used = 0;
          first = false;
        }
        round.add(part);
        used += part.floats();
      }
    }
    round(round, first, threads);
  }

  private void round(List<Part> parts, boolean first, int threads) {
    boolean serial = threads == 1;
    long floats = 0;
    for (Part part : parts) {
      floats += part.floats();
    }
    long at = floats == 0 ? 0 : Scratch.get(Scratch.Slot.PACKED_B, 4 * floats);
    for (Part part : parts) {
      if (part.packB) {
        part.panelsAt = at;
        at += 4 * part.floats();
        int count = panels * (part.b.batchStride() == 0 ? 1 : batch);
        boolean little = part.floats() < 1 << 12;
        Parallel.forRange(
            count, serial || little ? count : 1, (begin, end, worker) -> part.pack(begin, end));
      }
    }
    int wanted = serial ? 1 : 4 * threads;
    int slabs = (m + height - 1) / height;
    int rowBlocks = rowBlocks(slabs, (wanted + batch - 1) / batch, serial ? 1 : threads);
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
            int block = within / groupCount;
            int row = (int) ((long) slabs * block / rowBlocks) * height;
            int rowEnd = (int) ((long) slabs * (block + 1) / rowBlocks) * height;
            int panel = within % groupCount * groupPanels;
            compute(
                parts,
                first,
                product,
                row,
                Math.min(rowEnd, m) - row,
                panel,
                Math.min(panels, panel + groupPanels));
          }
        });
  }

  /**
   * The blocks of rows of one product: as many as are wanted if they are neither very low nor very
   * high, and of one product as many for each thread.
   */
  private int rowBlocks(int slabs, int wanted, int threads) {
    int rowBlock = Gemm.rowBlock(m, height, wanted);
    int blocks = (m + rowBlock - 1) / rowBlock;
    return batch == 1 ? Math.min(slabs, (blocks + threads - 1) / threads * threads) : blocks;
  }

  /** Rows {@code row} to {@code row + rows} of one product, for some panels. */
  private void compute(
      List<Part> parts,
      boolean first,
      int product,
      int row,
      int rows,
      int firstPanel,
      int lastPanel) {
    long out = c.address() + 4 * (product * c.batchStride() + row * c.rowStride());
    int firstColumn = firstPanel * full;
    int columns = Math.min(n, lastPanel * full) - firstColumn;
    boolean add = accumulate || !first;
    if (first && (parts.isEmpty() || (bias != 0 && accumulate))) {
      prepare(rows, columns, out + 4L * firstColumn, bias + 4L * firstColumn);
      add = true;
    }
    for (Part part : parts) {
      part.multiply(product, row, rows, firstPanel, lastPanel, bias, out, add);
      add = true;
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
