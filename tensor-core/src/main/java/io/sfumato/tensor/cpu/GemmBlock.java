// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.Storage;
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
  /** Sums that are formed at a time for a result of 16 bits: they stay in an L2 cache. */
  private static final int RESULT_FLOATS = 1 << 17;

  private final GemmTile tile;
  private final GemmFormat format;
  private final int batch;
  private final int m;
  private final int n;
  private final List<Term> terms;
  private final Matrix c;
  private final boolean accumulate;
  private final long bias;
  private final int full;
  private final int panels;

  /** Rows {@code first} to {@code first + k} of one B with what they meet in A. */
  interface Part {
    /** Floats to pack. */
    long floats();

    /** Panels to pack, if there are floats to pack. */
    int count();

    /** Says where. */
    void place(long at);

    /** Packs some panels, counted over the batch. */
    void pack(int begin, int end);

    /**
     * Adds {@code A B} for some rows and panels to C, or puts it there.
     *
     * @param start address of what each row starts with, or 0
     * @param out address of the row's element of column 0
     * @param ldc floats between rows of C
     * @param add whether to add to C
     */
    void multiply(
        int product,
        int row,
        int rows,
        int firstPanel,
        int lastPanel,
        long start,
        long out,
        long ldc,
        boolean add);
  }

  /**
   * A sum of products.
   *
   * @param tile copies and sums of rows
   * @param format how operands are multiplied
   */
  GemmBlock(
      GemmTile tile,
      GemmFormat format,
      int batch,
      int m,
      int n,
      List<Term> terms,
      Matrix c,
      boolean accumulate,
      long bias) {
    this.tile = tile;
    this.format = format;
    this.batch = batch;
    this.m = m;
    this.n = n;
    this.terms = terms;
    this.c = c;
    this.accumulate = accumulate;
    this.bias = bias;
    full = format.width();
    panels = (n + full - 1) / full;
  }

  void run(int threads) {
    List<List<Part>> rounds = rounds();
    if (c.isFloat() || rounds.size() == 1) {
      run(rounds, threads);
      return;
    }
    long rows = (long) batch * m;
    Storage sums = CpuBackend.instance().allocate(4 * rows * n);
    try {
      Matrix wide = Matrix.stack(sums.address(), m, n);
      new GemmBlock(tile, format, batch, m, n, terms, wide, accumulate, bias).run(rounds, threads);
      Loops.forRows(
          Math.toIntExact(rows),
          n,
          (begin, end, worker) -> {
            for (int i = begin; i < end; i++) {
              long from = wide.at(i % m, 0, i / m).address();
              Loops.leaf().casts().narrow(c.type(), from, c.at(i % m, 0, i / m).address(), n);
            }
          });
    } finally {
      sums.release();
    }
  }

  /** Parts of the products, as many at a time as fit the work space. */
  private List<List<Part>> rounds() {
    List<List<Part>> rounds = new ArrayList<>();
    List<Part> round = new ArrayList<>();
    long used = 0;
    for (Term term : terms) {
      int kBlock = format.kBlock(term.k());
      long fits = format.roundElements() / Math.max(1, Panels.width(tile, n)) / kBlock * kBlock;
      int step = batch > 1 ? Math.max(1, term.k()) : (int) Math.clamp(fits, kBlock, 1 << 30);
      for (int p = 0; p < term.k(); p += step) {
        Part part = format.part(batch, m, n, term, p, Math.min(step, term.k() - p));
        if (!round.isEmpty() && used + part.floats() > format.maxPacked()) {
          rounds.add(round);
          round = new ArrayList<>();
          used = 0;
        }
        round.add(part);
        used += part.floats();
      }
    }
    rounds.add(round);
    return rounds;
  }

  private void run(List<List<Part>> rounds, int threads) {
    for (List<Part> round : rounds) {
      round(round, round == rounds.getFirst(), threads);
    }
  }

  private void round(List<Part> parts, boolean first, int threads) {
    boolean serial = threads == 1;
    long floats = 0;
    for (Part part : parts) {
      floats += part.floats();
    }
    long at = floats == 0 ? 0 : Scratch.get(Scratch.Slot.PACKED_B, 4 * floats);
    for (Part part : parts) {
      part.place(at);
      at += 4 * part.floats();
    }
    if (!serial && batch == 1 && format.isApart(m, n, threads)) {
      Parallel.forRange(
          threads,
          1,
          (begin, end, worker) -> {
            for (int share = begin; share < end; share++) {
              columns(parts, first, panels * share / threads, panels * (share + 1) / threads);
            }
          });
      return;
    }
    for (Part part : parts) {
      if (part.floats() > 0) {
        int count = part.count();
        boolean little = part.floats() < 1 << 12;
        Parallel.forRange(
            count, serial || little ? count : 1, (begin, end, worker) -> part.pack(begin, end));
      }
    }
    int wanted = serial ? 1 : 4 * threads;
    int height = format.height();
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

  /** Some panels, packed by the worker that uses them. */
  private void columns(List<Part> parts, boolean first, int firstPanel, int lastPanel) {
    for (Part part : parts) {
      if (part.floats() > 0) {
        part.pack(firstPanel, lastPanel);
      }
    }
    for (int row = 0; row < m; row += format.maxRows()) {
      int rows = Math.min(format.maxRows(), m - row);
      compute(parts, first, 0, row, rows, firstPanel, lastPanel);
    }
  }

  /**
   * The blocks of rows of one product: as many as are wanted if they are neither very low nor very
   * high, and of one product as many for each thread.
   */
  private int rowBlocks(int slabs, int wanted, int threads) {
    int rowBlock = Gemm.rowBlock(m, format.height(), format.maxRows(), wanted);
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
    if (c.isFloat()) {
      Matrix to = c.at(row, firstPanel * full, product);
      long ldc = c.rowStride();
      compute(parts, first, product, row, rows, firstPanel, lastPanel, to.address(), ldc);
      return;
    }
    CastLoops casts = Loops.leaf().casts();
    int most = Math.max(1, RESULT_FLOATS / (rows * full));
    for (int panel = firstPanel; panel < lastPanel; panel += most) {
      int end = Math.min(lastPanel, panel + most);
      int columns = Math.min(n, end * full) - panel * full;
      long sums = Scratch.get(Scratch.Slot.RESULT, 4L * rows * columns);
      compute(parts, first, product, row, rows, panel, end, sums, columns);
      Matrix to = c.at(row, panel * full, product);
      casts.narrowRows(
          c.type(), rows, columns, sums, 4L * columns, to.address(), 2 * to.rowStride());
    }
  }

  /** The same, with sums that begin {@code at} an address and have rows {@code ldc} apart. */
  private void compute(
      List<Part> parts,
      boolean first,
      int product,
      int row,
      int rows,
      int firstPanel,
      int lastPanel,
      long at,
      long ldc) {
    int firstColumn = firstPanel * full;
    int columns = Math.min(n, lastPanel * full) - firstColumn;
    boolean add = accumulate || !first;
    if (first && (parts.isEmpty() || (bias != 0 && accumulate))) {
      prepare(rows, columns, at, ldc, bias == 0 ? 0 : bias + 4L * firstColumn);
      add = true;
    }
    for (Part part : parts) {
      part.multiply(
          product, row, rows, firstPanel, lastPanel, bias, at - 4L * firstColumn, ldc, add);
      add = true;
    }
  }

  /** Puts what precedes the sums into C: the bias, or zero, or nothing. */
  private void prepare(int rows, int columns, long out, long ldc, long from) {
    if (bias != 0 && accumulate) {
      tile.addRows(rows, columns, from, 0, out, ldc);
    } else if (bias != 0) {
      tile.copyRows(rows, columns, from, 0, out, ldc);
    } else if (!accumulate) {
      for (int r = 0; r < rows; r++) {
        Memory.zero(out + 4 * r * ldc, 4L * columns);
      }
    }
  }
}
