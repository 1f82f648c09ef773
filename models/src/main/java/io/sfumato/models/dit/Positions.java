// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.dit;

/** Tables of positions on a grid of patches. */
final class Positions {
  private static final double BASE = 10000;

  private Positions() {}

  /**
   * The two-dimensional sine-cosine table (DIT models.py, get_2d_sincos_pos_embed; diffusers
   * models/embeddings.py). The first D/2 values of a token encode its <em>column</em>, the others
   * its row: the reference stacks its grid with the width first. Each half is [sin(p ω), cos(p ω)]
   * with ω_i = 10000^(-i / (D/4)). Grids of other sizes than the model's are squeezed onto its
   * range.
   *
   * @param rows patches from top to bottom
   * @param columns patches from left to right
   * @param side patches per side the model was made for
   * @param width D, divisible by 4
   * @return [rows columns, D], row by row
   */
  static double[] sinCos(int rows, int columns, int side, int width) {
    double[] table = new double[rows * columns * width];
    for (int row = 0; row < rows; row++) {
      for (int column = 0; column < columns; column++) {
        int at = (row * columns + column) * width;
        encode(table, at, width / 2, (double) column * side / columns);
        encode(table, at + width / 2, width / 2, (double) row * side / rows);
      }
    }
    return table;
  }

  private static void encode(double[] table, int at, int width, double position) {
    int half = width / 2;
    for (int i = 0; i < half; i++) {
      double angle = position * Math.pow(BASE, -(double) i / half);
      table[at + i] = Math.sin(angle);
      table[at + half + i] = Math.cos(angle);
    }
  }

  /**
   * The angles by which rotary positions turn the pairs of values of one head: the first half of
   * the pairs turns with the row, the second with the column, each by p 10000^(-i / (D/4)).
   *
   * @param rows patches from top to bottom
   * @param columns patches from left to right
   * @param extra tokens behind the patches, which are not turned
   * @param headWidth D, divisible by 4
   * @return [rows columns + extra, 2, D/4]
   */
  static double[] rotaryAngles(int rows, int columns, int extra, int headWidth) {
    int quarter = headWidth / 4;
    double[] angles = new double[(rows * columns + extra) * 2 * quarter];
    for (int row = 0; row < rows; row++) {
      for (int column = 0; column < columns; column++) {
        int at = (row * columns + column) * 2 * quarter;
        for (int i = 0; i < quarter; i++) {
          double omega = Math.pow(BASE, -(double) i / quarter);
          angles[at + i] = row * omega;
          angles[at + quarter + i] = column * omega;
        }
      }
    }
    return angles;
  }
}
