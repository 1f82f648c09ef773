// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/** What exponentials of scores on a matrix unit have in common: rows of slabs, and their sums. */
final class Exponentials {
  private static final int SIDE = MatrixUnit.SIDE;

  /** Bytes of a float for each row of a slab. */
  private static final int SUM_BYTES = 4 * SIDE;

  private Exponentials() {}

  /** Computes the exponentials of a slab. */
  @FunctionalInterface
  interface Slab {
    /**
     * Computes them.
     *
     * @param r the first row
     * @param rows their number
     * @param from address of the first score
     * @param step bytes from one row to the next
     * @param shifts address of the rows' shifts
     * @param lanes address of 16 sums for each row
     */
    void compute(int r, int rows, long from, long step, long shifts, long lanes);
  }

  /** Hides what a query does not see, and calls {@code body} for each slab. */
  static void forSlabs(
      AttentionProblem p,
      int first,
      int rows,
      int j,
      int n,
      long s,
      int scoreStride,
      float[] shift,
      double[] sums,
      Slab body) {
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
      body.compute(r, some, s + r * step, step, shifts, lanes);
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
