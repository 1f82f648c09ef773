// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.Gemm.Matrix;

/** A convolution of floats, split in three parts, see {@link SplitOperands}. */
final class SplitConv extends UnitConv {
  private static final int PARTS = 3;

  private final MatrixUnit unit;

  /**
   * Prepares a convolution that {@link #canServe} said yes to.
   *
   * @param weights address of {@link #weightFloats} floats of split weights
   */
  SplitConv(GemmTile tile, MatrixUnit unit, ConvWindow w, long weights) {
    super(tile, w, PARTS, Float.BYTES, SplitOperands.panelBytes(w.inC()), weights);
    this.unit = unit;
  }

  /**
   * Whether a convolution can be computed so, and is faster than by tiles, by cycles of a core for
   * an output pixel.
   */
  static boolean serves(ConvWindow w) {
    if (!canServe(w)) {
      return false;
    }
    int in = (w.inC() + CHANNELS - 1) / CHANNELS * CHANNELS;
    int out = SplitOperands.count(w.outC()) * LANES;
    double split =
        waste(w) * w.taps() * in * out / 50
            + (double) w.inC() * w.strideH() * w.strideW()
            + (w.outW() % LANES == 0 ? 0 : 0.5 * w.outC());
    double products = (double) w.inC() * w.outC() / 26;
    double tiles =
        WinogradTiles.pay(w) ? 4 * products + 2.3 * (w.inC() + w.outC()) : w.taps() * products;
    return split < tiles;
  }

  /** The floats of the split weights. */
  static long weightFloats(ConvWindow w) {
    return w.taps() * SplitOperands.allBytes(w.inC(), w.outC()) / 4;
  }

  @Override
  void packPanel(Matrix b, int panel, long to) {
    SplitOperands.panels(tile, unit, w.inC(), w.outC(), panel, panel + 1, b, to);
  }

  @Override
  long blockOf(int group) {
    int perBlock = SplitOperands.K_BLOCK / CHANNELS;
    return SplitOperands.panelBytes(group / perBlock * SplitOperands.K_BLOCK)
        + group % perBlock * MatrixUnit.BLOCK_BYTES;
  }

  @Override
  boolean isFit() {
    for (int tap = 0; tap < w.taps(); tap++) {
      if (!SplitOperands.areFit(w.inC(), panels, weights + tap * tapBytes)) {
        return false;
      }
    }
    return true;
  }

  @Override
  boolean pixels(int pixels, long from, long to, long part) {
    long step = 4L * w.inC();
    return SplitOperands.rows(
        unit, pixels, w.inC(), from, step, to, PARTS * part, part, w.inW() * step);
  }

  @Override
  void multiply(
      int slabs,
      long table,
      int steps,
      long stepTable,
      long rowA,
      long partA,
      int firstPanel,
      int panels,
      long start,
      long rowC) {
    long b = SplitOperands.blocks(weights + firstPanel * panelBytes);
    unit.multiply(
        slabs,
        table,
        steps,
        stepTable,
        rowA,
        partA,
        panels,
        b,
        panelBytes,
        MatrixUnit.TILE_BYTES,
        start,
        rowC);
  }

  @Override
  void deliver(int pixels, int columns, long sums, long rowC, long y, long pixel) {
    tile.copyRows(pixels, columns, sums, rowC / 4, y, pixel);
  }
}
