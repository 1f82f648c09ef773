// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * Reductions of contiguous f32 memory, on all threads. Blocks of fixed size are reduced on their
 * own and joined in order, so the result does not depend on the number of threads.
 */
public final class Reductions {
  /** Column sums run over at most this many blocks of rows, whose sums are then added. */
  private static final int COLUMN_BLOCKS = 64;

  private static final int COLUMN_ROWS = 64;

  private Reductions() {}

  @FunctionalInterface
  private interface BlockSum {
    double of(long from, int n);
  }

  private static double joined(long n, BlockSum block) {
    if (n <= Loops.CHUNK) {
      return block.of(0, (int) n);
    }
    double[] parts = new double[Math.toIntExact((n + Loops.CHUNK - 1) / Loops.CHUNK)];
    Loops.forChunks(n, (at, m) -> parts[(int) (at / Loops.CHUNK)] = block.of(at, m));
    double sum = 0;
    for (double part : parts) {
      sum += part;
    }
    return sum;
  }

  /** {@code Σ x}; 0 for no elements. */
  public static double sum(long x, long n) {
    ReduceLoops loops = Loops.leaf().reduce();
    return joined(n, (at, m) -> loops.sum(x + at * 4, m));
  }

  /** {@code Σ x²}. */
  public static double sumOfSquares(long x, long n) {
    ReduceLoops loops = Loops.leaf().reduce();
    return joined(n, (at, m) -> loops.sumOfSquares(x + at * 4, m));
  }

  /** {@code Σ x²} over many arrays, which are summed one by one and joined in order. */
  public static double sumOfSquares(long[] x, long[] n) {
    ReduceLoops loops = Loops.leaf().reduce();
    double[][] parts = new double[n.length][];
    for (int k = 0; k < n.length; k++) {
      parts[k] = new double[Math.toIntExact((n[k] + Loops.CHUNK - 1) / Loops.CHUNK)];
    }
    Loops.forArrays(
        n,
        (k, from, m) ->
            parts[k][(int) (from / Loops.CHUNK)] = loops.sumOfSquares(x[k] + from * 4, m));
    double total = 0;
    for (double[] array : parts) {
      double sum = 0;
      for (double part : array) {
        sum += part;
      }
      total += sum;
    }
    return total;
  }

  /** {@code Σ a b}. */
  public static double dot(long a, long b, long n) {
    ReduceLoops loops = Loops.leaf().reduce();
    return joined(n, (at, m) -> loops.dot(a + at * 4, b + at * 4, m));
  }

  /** The largest element; NaN if any is NaN, negative infinity for no elements. */
  public static float max(long x, long n) {
    ReduceLoops loops = Loops.leaf().reduce();
    float[] parts = new float[Math.toIntExact((n + Loops.CHUNK - 1) / Loops.CHUNK)];
    Loops.forChunks(n, (at, m) -> parts[(int) (at / Loops.CHUNK)] = loops.max(x + at * 4, m));
    float max = Float.NEGATIVE_INFINITY;
    for (float part : parts) {
      max = Math.max(max, part);
    }
    return max;
  }

  /** {@code out[r] = Σ_j x[r, j]} for {@code rows} rows of {@code n} elements. */
  public static void rowSums(long x, long out, int rows, int n) {
    ReduceLoops loops = Loops.leaf().reduce();
    Loops.forRows(
        rows,
        n,
        (begin, end, worker) -> {
          for (int r = begin; r < end; r++) {
            Memory.putFloat(out + r * 4L, (float) loops.sum(x + (long) r * n * 4, n));
          }
        });
  }

  /** {@code out[r] = max_j x[r, j]} for {@code rows} rows of {@code n} elements. */
  public static void rowMax(long x, long out, int rows, int n) {
    ReduceLoops loops = Loops.leaf().reduce();
    Loops.forRows(
        rows,
        n,
        (begin, end, worker) -> {
          for (int r = begin; r < end; r++) {
            Memory.putFloat(out + r * 4L, loops.max(x + (long) r * n * 4, n));
          }
        });
  }

  /** {@code out[j] = Σ_r x[r, j]}, the gradient of a bias. */
  public static void columnSums(long x, long out, int rows, int n) {
    ReduceLoops loops = Loops.leaf().reduce();
    int perBlock = rowsPerBlock(rows);
    int blocks = (rows + perBlock - 1) / perBlock;
    long stride = (long) n * 4;
    long parts = Scratch.get(Scratch.Slot.PARTIAL_SUMS, Math.max(1, blocks) * stride);
    Parallel.forRange(
        blocks,
        1,
        (begin, end, worker) -> {
          for (int b = begin; b < end; b++) {
            long part = parts + b * stride;
            Memory.zero(part, stride);
            int r = b * perBlock;
            loops.addColumns(x + r * stride, part, Math.min(perBlock, rows - r), n);
          }
        });
    Memory.zero(out, stride);
    loops.addColumns(parts, out, blocks, n);
  }

  /** Rows that are summed together; depends on the shape alone. */
  static int rowsPerBlock(int rows) {
    return Math.max(COLUMN_ROWS, (rows + COLUMN_BLOCKS - 1) / COLUMN_BLOCKS);
  }
}
