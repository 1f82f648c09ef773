// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * Pointwise kernels over contiguous f32 memory, on all threads. Addresses are absolute; an output
 * may be the same memory as an input, but not overlap it partly. Results do not depend on the
 * number of threads.
 */
public final class Elementwise {
  /**
   * Broadcast operands are repeated up to this many elements, to make longer loops of short rows.
   */
  private static final int PATTERN = 2048;

  private Elementwise() {}

  /** {@code y[i] = op(x[i])}, i in [0, n). */
  public static void unary(UnaryOp op, long x, long y, long n) {
    ElementwiseLoops loops = Loops.leaf().elementwise();
    Loops.forChunks(n, (at, m) -> loops.unary(op, x + at * 4, y + at * 4, m));
  }

  /** {@code dx[i] = dy[i] f'(kept[i])}; {@code kept} is what {@link UnaryGradient} says. */
  public static void gradient(UnaryGradient op, long kept, long dy, long dx, long n) {
    ElementwiseLoops loops = Loops.leaf().elementwise();
    Loops.forChunks(n, (at, m) -> loops.gradient(op, kept + at * 4, dy + at * 4, dx + at * 4, m));
  }

  /** {@code y[i] = a[i] op b[i]}. */
  public static void binary(BinaryOp op, long a, long b, long y, long n) {
    ElementwiseLoops loops = Loops.leaf().elementwise();
    Loops.forChunks(n, (at, m) -> loops.binary(op, a + at * 4, b + at * 4, y + at * 4, m));
  }

  /** {@code y[i] = a[i] op s}. */
  public static void binaryRight(BinaryOp op, long a, float s, long y, long n) {
    ElementwiseLoops loops = Loops.leaf().elementwise();
    Loops.forChunks(n, (at, m) -> loops.binaryRight(op, a + at * 4, s, y + at * 4, m));
  }

  /** {@code y[i] = s op a[i]}. */
  public static void binaryLeft(BinaryOp op, float s, long a, long y, long n) {
    ElementwiseLoops loops = Loops.leaf().elementwise();
    Loops.forChunks(n, (at, m) -> loops.binaryLeft(op, s, a + at * 4, y + at * 4, m));
  }

  /**
   * A vector against each row of a matrix, once per batch: {@code y[g, r, j] = a[g, r, j] op b[g,
   * j]}. With one batch this adds a bias; with {@code rows = H W} it broadcasts [B, 1, 1, C].
   *
   * @param op the function
   * @param a matrices [batches, rows, n]
   * @param b vectors [batches, n]
   * @param y results [batches, rows, n]
   * @param batches the number of vectors
   * @param rows rows per batch
   * @param n row length
   * @param reversed computes {@code b op a} instead
   */
  public static void binaryRows(
      BinaryOp op, long a, long b, long y, int batches, int rows, int n, boolean reversed) {
    ElementwiseLoops loops = Loops.leaf().elementwise();
    int group = n >= PATTERN ? 1 : Math.min(rows, PATTERN / Math.max(1, n));
    int groups = group == 0 ? 0 : (rows + group - 1) / group;
    long stride = (long) n * 4;
    int work = Math.toIntExact((long) batches * groups);
    int grain = Math.max(1, Loops.CHUNK / Math.max(1, group * n));
    Parallel.forRange(
        work,
        grain,
        (begin, end, worker) -> {
          long pattern = group == 1 ? 0 : Scratch.get(Scratch.Slot.ROW, group * stride);
          int patternOf = -1;
          for (int i = begin; i < end; i++) {
            int g = i / groups;
            int r = i % groups * group;
            int count = Math.min(group, rows - r);
            long row = b + g * stride;
            if (group > 1 && patternOf != g) {
              for (int k = 0; k < group; k++) {
                Memory.copy(row, pattern + k * stride, stride);
              }
              patternOf = g;
            }
            long right = group == 1 ? row : pattern;
            long at = ((long) g * rows + r) * stride;
            if (reversed) {
              loops.binary(op, right, a + at, y + at, count * n);
            } else {
              loops.binary(op, a + at, right, y + at, count * n);
            }
          }
        });
  }

  /**
   * One number against each row: {@code y[r, j] = a[r, j] op b[r]}; with {@code rows = B C} this
   * broadcasts [B, C, 1, 1] over NCHW.
   *
   * @param op the function
   * @param a matrix [rows, n]
   * @param b numbers [rows]
   * @param y result [rows, n]
   * @param rows the number of rows
   * @param n row length
   * @param reversed computes {@code b op a} instead
   */
  public static void binaryColumn(
      BinaryOp op, long a, long b, long y, int rows, int n, boolean reversed) {
    ElementwiseLoops loops = Loops.leaf().elementwise();
    Loops.forRows(
        rows,
        n,
        (begin, end, worker) -> {
          for (int r = begin; r < end; r++) {
            float s = Memory.getFloat(b + r * 4L);
            long at = (long) r * n * 4;
            if (reversed) {
              loops.binaryLeft(op, s, a + at, y + at, n);
            } else {
              loops.binaryRight(op, a + at, s, y + at, n);
            }
          }
        });
  }

  /** {@code y = x} where x is positive, else {@code slope x}. */
  public static void leakyRelu(float slope, long x, long y, long n) {
    ElementwiseLoops loops = Loops.leaf().elementwise();
    Loops.forChunks(n, (at, m) -> loops.leakyRelu(slope, x + at * 4, y + at * 4, m));
  }

  /** {@code dx = dy} where x is positive, else {@code slope dy}. */
  public static void leakyReluGradient(float slope, long x, long dy, long dx, long n) {
    ElementwiseLoops loops = Loops.leaf().elementwise();
    Loops.forChunks(
        n, (at, m) -> loops.leakyReluGradient(slope, x + at * 4, dy + at * 4, dx + at * 4, m));
  }

  /** {@code y = a + b c}, rounded once. */
  public static void multiplyAdd(long a, long b, long c, long y, long n) {
    ElementwiseLoops loops = Loops.leaf().elementwise();
    Loops.forChunks(
        n, (at, m) -> loops.multiplyAdd(a + at * 4, b + at * 4, c + at * 4, y + at * 4, m));
  }

  /** {@code y = alpha a + beta b}. */
  public static void axpby(float alpha, long a, float beta, long b, long y, long n) {
    ElementwiseLoops loops = Loops.leaf().elementwise();
    Loops.forChunks(n, (at, m) -> loops.axpby(alpha, a + at * 4, beta, b + at * 4, y + at * 4, m));
  }

  /** {@code y = factor x}. */
  public static void scale(float factor, long x, long y, long n) {
    binaryRight(BinaryOp.MUL, x, factor, y, n);
  }

  /** {@code y[i] = value}. */
  public static void fill(float value, long y, long n) {
    ElementwiseLoops loops = Loops.leaf().elementwise();
    Loops.forChunks(n, (at, m) -> loops.fill(value, y + at * 4, m));
  }

  /** {@code y = x}; the ranges must not overlap. */
  public static void copy(long x, long y, long n) {
    Loops.forChunks(n, (at, m) -> Memory.copy(x + at * 4, y + at * 4, m * 4L));
  }
}
