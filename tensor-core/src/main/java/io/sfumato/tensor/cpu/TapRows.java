// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/** Gradients of a convolution's weights: a row for each tap, to be stored channel by channel. */
final class TapRows {
  private TapRows() {}

  /**
   * Rows of floats as columns: {@code to[c, tap] = from[tap, c]}.
   *
   * @param tile transposes
   * @param taps the rows
   * @param n floats of a row
   * @param from address of the first row
   * @param stride floats from one row to the next
   * @param to address of the result
   */
  static void interleave(GemmTile tile, int taps, int n, long from, long stride, long to) {
    int done = taps == 9 ? tile.transposeColumns(n, taps, 1f, from, stride, to, taps) : 0;
    for (int c = done; c < n; c++) {
      long at = to + 4L * c * taps;
      for (int tap = 0; tap < taps; tap++) {
        Memory.putFloat(at + 4L * tap, Memory.getFloat(from + 4 * (tap * stride + c)));
      }
    }
  }
}
