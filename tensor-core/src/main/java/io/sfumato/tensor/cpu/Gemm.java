// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.exec.Elements;
import java.util.ArrayList;
import java.util.List;

/**
 * The matrix product of the CPU backend,
 *
 * <pre>  C[b, i, j] (+)= sum over p of A[b, i, p] * B[b, p, j]  (+ bias[j])</pre>
 *
 * <p>Matrices are of f32, bf16 or f16: operands of 16 bits are converted while they are rearranged,
 * or multiplied as they are on a unit that does so, sums are f32, and a result of 16 bits is
 * rounded once. A and B have any element strides, so transposes and broadcasts cost nothing to
 * express; the columns of C are contiguous. Results are the same bits for any number of threads.
 *
 * <p>B is rearranged into panels (see {@link Panels}), A is read in place unless it is transposed;
 * blocks of rows and of columns are then handed to the workers. The blocking follows Goto and van
 * de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008).
 */
public final class Gemm {
  /**
   * The longest sum held in registers: with it a panel and a block of rows still fit an L2 cache of
   * a megabyte. Shorter ones read and write the result more often, which costs more than a panel
   * that leaves the L1 cache.
   */
  private static final int MAX_K_BLOCK = 1024;

  static final int MAX_ROW_BLOCK = 144;
  private static final int MIN_ROW_BLOCK = 24;

  /** Floats of B rearranged at a time: they are read again and again from the shared cache. */
  static final long MAX_PACKED = 1L << 20;

  /** Up to so many rows a product reads A and B in place: rearranging would cost more. */
  private static final int FEW_ROWS = 8;

  /** Multiplications below which a second thread does not pay. */
  private static final double SERIAL_WORK = 1 << 19;

  private Gemm() {}

  /**
   * A stack of matrices in memory. All strides count elements and may be zero.
   *
   * @param address address of the first element
   * @param rowStride from one row to the next
   * @param colStride from one column to the next
   * @param batchStride from one matrix to the next; zero repeats one matrix
   * @param type f32, bf16 or f16
   */
  public record Matrix(long address, long rowStride, long colStride, long batchStride, DType type) {
    /** Matrices of f32. */
    public Matrix(long address, long rowStride, long colStride, long batchStride) {
      this(address, rowStride, colStride, batchStride, DType.F32);
    }

    /** One matrix with contiguous rows of {@code columns} elements, f32. */
    public static Matrix rowMajor(long address, long columns) {
      return rowMajor(address, columns, DType.F32);
    }

    /** One matrix with contiguous rows of {@code columns} elements. */
    public static Matrix rowMajor(long address, long columns, DType type) {
      return new Matrix(address, columns, 1, 0, type);
    }

    /** A stack of matrices, each contiguous, {@code rows} by {@code columns}. */
    public static Matrix stack(long address, long rows, long columns) {
      return new Matrix(address, columns, 1, rows * columns);
    }

    /** The same matrices with rows and columns exchanged. */
    public Matrix transposed() {
      return new Matrix(address, colStride, rowStride, batchStride, type);
    }

    /** The same matrices from an element on. */
    Matrix at(long row, long column, long batch) {
      long offset = row * rowStride + column * colStride + batch * batchStride;
      return new Matrix(address + type.bytes() * offset, rowStride, colStride, batchStride, type);
    }

    boolean isFloat() {
      return type == DType.F32;
    }

    /** The first {@code rows} and {@code columns} as floats: where they lie, or in a buffer. */
    Matrix floats(int rows, int columns, Scratch.Slot slot) {
      if (isFloat()) {
        return this;
      }
      long to = Scratch.get(slot, 4L * rows * columns);
      widen(rows, columns, to);
      return byColumns() ? rowMajor(to, rows).transposed() : rowMajor(to, columns);
    }

    /** Whether neighbours in memory are of one column. */
    boolean byColumns() {
      return rowStride == 1 && colStride != 1;
    }

    /** Widens the first rows and columns, one row after the other, or one column. */
    void widen(int rows, int columns, long to) {
      CastLoops casts = Loops.leaf().casts();
      boolean byColumns = byColumns();
      int lines = byColumns ? columns : rows;
      int length = byColumns ? rows : columns;
      long step = 2 * (byColumns ? colStride : rowStride);
      long next = 2 * (byColumns ? rowStride : colStride);
      if (next == 2 && step == 2L * length) {
        casts.widen(type, address, to, lines * length);
        return;
      }
      for (int i = 0; i < lines; i++) {
        long from = address + i * step;
        long line = to + 4L * i * length;
        if (next == 2) {
          casts.widen(type, from, line, length);
          continue;
        }
        for (int j = 0; j < length; j++) {
          Memory.putFloat(line + 4L * j, (float) Elements.get(type, from + j * next));
        }
      }
    }
  }

  /**
   * One product of a sum.
   *
   * @param k columns of A, rows of B
   * @param a the left operand
   * @param b the right operand
   * @param panels address of all panels of B, packed over the whole of {@code k}, as {@link
   *     PackedWeights} keeps them; or 0 for a B to be read where it is
   * @param kind what panels these are
   */
  record Term(int k, Matrix a, Matrix b, long panels, GemmFormat.Kind kind) {
    Term(int k, Matrix a, Matrix b) {
      this(k, a, b, 0);
    }

    Term(int k, Matrix a, Matrix b, long panels) {
      this(k, a, b, panels, GemmFormat.Kind.TILES);
    }

    Term at(int row, int column, int batch) {
      return new Term(
          k,
          a.at(row, 0, batch),
          b.at(0, column, batch),
          panels == 0 ? 0 : panels + kind.bytes(k, column),
          kind);
    }
  }

  /**
   * One product, {@code C = A B} or {@code C += A B}.
   *
   * @param m rows of A and C
   * @param n columns of B and C
   * @param k columns of A, rows of B; zero gives the empty sum
   * @param a the left operand
   * @param b the right operand
   * @param c the result; its columns are contiguous and it overlaps no operand
   * @param accumulate whether to add to C
   * @throws IllegalArgumentException if a size is negative or the columns of C are not contiguous
   */
  public static void multiply(
      int m, int n, int k, Matrix a, Matrix b, Matrix c, boolean accumulate) {
    multiply(1, m, n, k, a, b, c, accumulate, 0);
  }

  /**
   * A batch of products with an optional bias added to each row.
   *
   * @param batch the number of products
   * @param m rows of A and C
   * @param n columns of B and C
   * @param k columns of A, rows of B; zero gives the empty sum
   * @param a the left operands
   * @param b the right operands
   * @param c the results; their columns are contiguous and they overlap neither operands nor one
   *     another
   * @param accumulate whether to add to C
   * @param bias address of {@code n} floats added to each row of the result, or 0 for none
   * @throws IllegalArgumentException if a size is negative or the columns of C are not contiguous
   */
  public static void multiply(
      int batch, int m, int n, int k, Matrix a, Matrix b, Matrix c, boolean accumulate, long bias) {
    multiply(Simd.provider().gemmTile(), batch, m, n, k, a, b, c, accumulate, bias);
  }

  /**
   * {@code C = A B (+ bias)} with a B whose panels may be kept.
   *
   * @param m rows of A and C
   * @param n columns of B and C
   * @param k columns of A, rows of B
   * @param a the left operand
   * @param b the right operand
   * @param cache where panels of B may be kept
   * @param c the result; its columns are contiguous
   * @param bias address of {@code n} floats added to each row of the result, or 0 for none
   */
  public static void multiply(
      int m, int n, int k, Matrix a, Matrix b, PackedWeights.Cache cache, Matrix c, long bias) {
    multiply(Simd.provider().gemmTile(), m, n, k, a, b, cache, c, bias);
  }

  /** Tells panels of the same matrix apart. */
  private record Key(GemmFormat.Kind kind, Matrix b) {}

  static void multiply(
      GemmTile tile,
      int m,
      int n,
      int k,
      Matrix a,
      Matrix b,
      PackedWeights.Cache cache,
      Matrix c,
      long bias) {
    if (c.isFloat() && GemmRowDots.pays(m, k, a, b)) { // the same digits, kept panels or not
      multiply(tile, 1, m, n, k, a, b, c, false, bias);
      return;
    }
    GemmFormat format = GemmFormat.of(tile, m, n, List.of(new Term(k, a, b)));
    GemmFormat.Kind kind = format.kind();
    long floats = format.panelBytes(k, n) / 4;
    long panels = cache.find(new Key(kind, b), floats, to -> format.packAll(k, n, b, to));
    if (panels == 0) {
      multiply(tile, 1, m, n, k, a, b, c, false, bias);
    } else {
      multiplySum(tile, m, n, List.of(new Term(k, a, b, panels, kind)), c, false, bias);
    }
  }

  static void multiply(
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
    check(batch, m, n, k, c, accumulate);
    if (batch == 0 || m == 0 || n == 0) {
      return;
    }
    long rows = (long) batch * m;
    boolean foldable =
        batch > 1
            && rows <= Integer.MAX_VALUE
            && b.batchStride == 0
            && a.batchStride == m * a.rowStride
            && c.batchStride == m * c.rowStride;
    if (foldable) {
      multiply(tile, 1, (int) rows, n, k, a, b, c, accumulate, bias);
      return;
    }
    if (batch == 1 && c.isFloat() && GemmRowDots.pays(m, k, a, b)) {
      GemmRowDots.multiply(m, n, k, a, b, c, accumulate, bias);
      return;
    }
    if (batch == 1 && c.isFloat() && GemmFewRows.pays(tile, m, n, k, a, b)) {
      GemmFewRows.multiply(tile, m, n, k, a, b, c, accumulate, bias);
      return;
    }
    boolean wide = a.isFloat() && b.isFloat() && c.isFloat();
    boolean stores = batch > 1 && b.batchStride != 0 && !accumulate;
    if (!wide && stores && GemmSmallHalves.pays(m, n, k)) {
      GemmSmallHalves.multiply(tile, batch, m, n, k, a, b, c, bias);
      return;
    }
    int threads = Parallel.threads();
    boolean serial = (double) m * n * k * batch < SERIAL_WORK;
    boolean many = batch >= 16 * threads || (batch >= 4 * threads && small(m, n, k));
    List<Term> terms = List.of(new Term(k, a, b));
    if (batch > 1 && b.batchStride != 0 && (serial || many)) {
      Parallel.forRange(
          batch,
          serial ? batch : 1,
          (begin, end, worker) -> {
            for (int i = begin; i < end; i++) {
              List<Term> one = List.of(terms.getFirst().at(0, 0, i));
              blocks(tile, 1, m, n, one, c.at(0, 0, i), accumulate, bias, 1);
            }
          });
      return;
    }
    blocks(tile, batch, m, n, terms, c, accumulate, bias, serial ? 1 : threads);
  }

  /**
   * A sum of products, {@code C (+)= A1 B1 + A2 B2 + … (+ bias)}, formed block by block while a
   * block of C is in the cache.
   *
   * @param m rows of C and of each A
   * @param n columns of C and of each B
   * @param terms the products; their batch strides are not used
   * @param c the result, see {@link #multiply(int, int, int, int, Matrix, Matrix, Matrix, boolean,
   *     long)}
   * @param accumulate whether to add to C
   * @param bias address of {@code n} floats added to each row of the result, or 0 for none
   */
  static void multiplySum(int m, int n, List<Term> terms, Matrix c, boolean accumulate, long bias) {
    multiplySum(Simd.provider().gemmTile(), m, n, terms, c, accumulate, bias);
  }

  static void multiplySum(
      GemmTile tile, int m, int n, List<Term> terms, Matrix c, boolean accumulate, long bias) {
    double work = 0;
    for (Term t : terms) {
      check(1, m, n, t.k, c, accumulate);
      work += (double) m * n * t.k;
    }
    if (m > 0 && n > 0) {
      int threads = work < SERIAL_WORK ? 1 : Parallel.threads();
      blocks(tile, 1, m, n, terms, c, accumulate, bias, threads);
    }
  }

  /** A product that does not pay to share among workers. */
  private static boolean small(int m, int n, int k) {
    return (double) m * n * k < 8 * SERIAL_WORK;
  }

  private static void check(int batch, int m, int n, int k, Matrix c, boolean accumulate) {
    if (batch < 0 || m < 0 || n < 0 || k < 0) {
      throw new IllegalArgumentException(
          "gemm: sizes must not be negative; got batch "
              + batch
              + ", "
              + m
              + " x "
              + n
              + " x "
              + k);
    }
    if (c.colStride != 1 && n > 1) {
      throw new IllegalArgumentException(
          "gemm: columns of the result must be contiguous; got stride " + c.colStride);
    }
    if (accumulate && !c.isFloat()) {
      throw new IllegalArgumentException("gemm: only a result of f32 is added to; got " + c.type);
    }
  }

  /** Cuts the sum so that a round of rearranged panels stays within {@link #MAX_PACKED}. */
  private static void blocks(
      GemmTile tile,
      int batch,
      int m,
      int n,
      List<Term> terms,
      Matrix c,
      boolean accumulate,
      long bias,
      int threads) {
    GemmFormat format = GemmFormat.of(tile, m, n, terms);
    int full = format.width();
    long most = format.roundElements();
    long depth = 1;
    for (Term t : terms) {
      depth = Math.max(depth, batch > 1 ? t.k : format.depth(t.k));
    }
    int nBlock = (int) Math.clamp(most / depth / full * full, full, Math.max(n, full));
    long perProduct = depth * Math.min(nBlock, n + full);
    int group = (int) Math.clamp(most / perProduct, 1, batch);
    for (int i = 0; i < batch; i += group) {
      for (int j = 0; j < n; j += nBlock) {
        List<Term> some = new ArrayList<>(terms.size());
        for (Term t : terms) {
          some.add(t.at(0, j, i));
        }
        new GemmBlock(
                tile,
                format,
                Math.min(group, batch - i),
                m,
                Math.min(nBlock, n - j),
                some,
                c.at(0, j, i),
                accumulate,
                bias == 0 ? 0 : bias + 4L * j)
            .run(threads);
      }
    }
  }

  /** The length of the sums that are formed at a time, about equal parts of {@code k}. */
  static int kBlock(int k) {
    int parts = Math.max(1, (k + MAX_K_BLOCK - 1) / MAX_K_BLOCK);
    return Math.max(1, ((k + parts - 1) / parts + 7) / 8 * 8);
  }

  /** Rows of one work item: enough items for all workers, but not so few rows that B is reread. */
  static int rowBlock(int m, int height, int most, int wantedBlocks) {
    int rows = (m + wantedBlocks - 1) / Math.max(1, wantedBlocks);
    rows = Math.clamp(rows, MIN_ROW_BLOCK, most);
    return (rows + height - 1) / height * height;
  }

  /** Whether rearranging operands costs more than it saves. */
  static boolean fewRows(int m) {
    return m <= FEW_ROWS;
  }
}
