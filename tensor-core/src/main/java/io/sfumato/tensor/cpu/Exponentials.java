// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/** What exponentials of scores on a matrix unit have in common: rows of slabs, and their sums. */
final class Exponentials {
  private static final int SIDE = MatrixUnit.SIDE;

  /** Bytes of a float for each row of a slab. */
  private static final int SUM_BYTES = 4 * SIDE;

  private Exponentials() {}

  /** {@link MatrixUnit#exponentials}, or {@link HalfUnit#halfExponentials}. */
  @FunctionalInterface
  interface Blocks {
    void compute(
        int blocks,
        int rows,
        long from,
        long step,
        long shifts,
        long sums,
        long to,
        int lanes,
        int secondLanes);
  }

  /**
   * Hides what a query does not see, and computes the exponentials of a block of scores, slab after
   * slab.
   *
   * @param p sizes and options
   * @param first the first query
   * @param rows the queries
   * @param j the first key
   * @param n the keys
   * @param s address of the scores
   * @param scoreStride floats from one row of scores to the next
   * @param shift what is taken from each row's scores
   * @param sums receives the sum of each row
   * @param blocks computes some blocks of a slab
   * @param to address of the first block
   * @param blockBytes from there to the next of the slab
   * @param slabBytes from one slab to the next
   */
  static void compute(
      AttentionProblem p,
      int first,
      int rows,
      int j,
      int n,
      long s,
      int scoreStride,
      float[] shift,
      double[] sums,
      Blocks blocks,
      long to,
      long blockBytes,
      long slabBytes) {
    int whole = n / MatrixUnit.DEPTH;
    int rest = n % MatrixUnit.DEPTH;
    long step = 4L * scoreStride;
    long shifts = Scratch.get(Scratch.Slot.ROW, SUM_BYTES + (long) SIDE * MatrixUnit.ROW_BYTES);
    long lanes = shifts + SUM_BYTES;
    for (int r = 0; r < rows; r += SIDE) {
      int some = Math.min(SIDE, rows - r);
      for (int i = 0; i < some; i++) {
        long row = s + (r + i) * step;
        for (int c = p.seen(first + r + i, j, n); c < n; c++) {
          Memory.putFloat(row + 4L * c, Float.NEGATIVE_INFINITY);
        }
        Memory.putFloat(shifts + 4L * i, shift[r + i]);
      }
      Memory.zero(lanes, (long) some * MatrixUnit.ROW_BYTES);
      long from = s + r * step;
      long slab = to + r / SIDE * slabBytes;
      if (whole > 0) {
        blocks.compute(whole, some, from, step, shifts, lanes, slab, SIDE, SIDE);
      }
      if (rest > 0) {
        long last = from + 4L * whole * MatrixUnit.DEPTH;
        long block = slab + whole * blockBytes;
        int low = Math.min(SIDE, rest);
        blocks.compute(1, some, last, step, shifts, lanes, block, low, rest - low);
      }
      for (int i = 0; i < some; i++) {
        sums[r + i] = sum(lanes + (long) i * MatrixUnit.ROW_BYTES);
      }
    }
  }

  /** The sum of 16 floats. */
  private static double sum(long at) {
    double even = 0;
    double odd = 0;
    for (int i = 0; i < SIDE; i += 2) {
      even += Memory.getFloat(at + 4L * i);
      odd += Memory.getFloat(at + 4L * i + 4);
    }
    return even + odd;
  }
}
