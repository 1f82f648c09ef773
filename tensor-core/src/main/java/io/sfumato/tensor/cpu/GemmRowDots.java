// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.Gemm.Matrix;

/**
 * Products of few rows with a matrix whose columns lie along memory, as those of a linear layer
 * with a vector for each image: time embeddings and modulations. Each element is a scalar product;
 * the weights are read once, where they lie. Packing them takes several times as long; panels that
 * are kept are as fast for two rows, and a third faster for four.
 */
final class GemmRowDots {
  private static final int MOST_ROWS = 4;

  /** The shortest sum: adding the lanes up takes as long as some vectors do. */
  private static final int SHORTEST = 128;

  private static final int ROWS = ReduceLoops.DOT_ROWS;
  private static final int COLUMNS = ReduceLoops.DOT_COLUMNS;

  private GemmRowDots() {}

  /** Whether this way is the faster one. */
  static boolean pays(int m, int k, Matrix a, Matrix b) {
    return m <= MOST_ROWS
        && k >= SHORTEST
        && a.isFloat()
        && b.isFloat()
        && a.colStride() == 1
        && b.rowStride() == 1;
  }

  static void multiply(
      int m, int n, int k, Matrix a, Matrix b, Matrix c, boolean accumulate, long bias) {
    int items = Math.ceilDiv(n, COLUMNS);
    ReduceLoops loops = Loops.leaf().reduce();
    Parallel.forRange(
        items,
        Loops.rowGrain(COLUMNS * k),
        (begin, end, worker) -> {
          double[] dots = new double[ROWS * COLUMNS];
          for (int j = begin * COLUMNS; j < Math.min(n, end * COLUMNS); j += COLUMNS) {
            int columns = Math.min(COLUMNS, n - j);
            long weights = b.address() + 4 * j * b.colStride();
            for (int i = 0; i < m; i += ROWS) {
              int rows = Math.min(ROWS, m - i);
              long from = a.address() + 4 * i * a.rowStride();
              long step = rows == ROWS ? 4 * a.rowStride() : 0; // a last row is taken twice
              if (columns == COLUMNS) {
                loops.dots(from, step, weights, 4 * b.colStride(), k, dots);
              } else {
                for (int d = 0; d < rows * columns; d++) {
                  int column = d % columns;
                  dots[d / columns * COLUMNS + column] =
                      loops.dot(from + d / columns * step, weights + 4 * column * b.colStride(), k);
                }
              }
              for (int r = 0; r < rows; r++) {
                long to = c.address() + 4 * ((i + r) * c.rowStride() + j);
                deliver(columns, dots, r * COLUMNS, bias == 0 ? 0 : bias + 4L * j, to, accumulate);
              }
            }
          }
        });
  }

  private static void deliver(
      int columns, double[] dots, int first, long bias, long to, boolean accumulate) {
    for (int j = 0; j < columns; j++) {
      float value = (float) dots[first + j];
      if (bias != 0) {
        value += Memory.getFloat(bias + 4L * j);
      }
      if (accumulate) {
        value += Memory.getFloat(to + 4L * j);
      }
      Memory.putFloat(to + 4L * j, value);
    }
  }
}
