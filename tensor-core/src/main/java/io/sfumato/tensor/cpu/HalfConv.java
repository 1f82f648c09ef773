// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.cpu.Gemm.Matrix;

/** A convolution of bfloat16 as it is; sums are f32 and rounded once. */
final class HalfConv extends UnitConv {
  private final HalfUnit unit;
  private final CastLoops casts = Loops.leaf().casts();

  /**
   * Prepares a convolution that {@link #canServe} said yes to.
   *
   * @param weights address of {@link #weightFloats} floats of rearranged weights
   */
  HalfConv(GemmTile tile, HalfUnit unit, ConvWindow w, long weights) {
    super(tile, w, 1, Short.BYTES, HalfOperands.bytes(w.inC()), weights);
    this.unit = unit;
  }

  /** The floats that the rearranged weights take the place of. */
  static long weightFloats(ConvWindow w) {
    return w.taps() * HalfOperands.allBytes(w.inC(), w.outC()) / 4;
  }

  @Override
  void packPanel(Matrix b, int panel, long to) {
    HalfOperands.panels(unit, w.inC(), w.outC(), panel, panel + 1, b, to);
  }

  @Override
  long blockOf(int group) {
    return (long) group * MatrixUnit.TILE_BYTES;
  }

  @Override
  boolean isFit() {
    return true;
  }

  @Override
  boolean pixels(int pixels, long from, long to, long part) {
    HalfOperands.blocks(unit, pixels, w.inC(), from, (long) Short.BYTES * w.inC(), to, part);
    return true;
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
    long b = weights + firstPanel * panelBytes;
    unit.multiplyHalves(slabs, table, steps, stepTable, rowA, panels, b, panelBytes, start, rowC);
  }

  @Override
  void deliver(int pixels, int columns, long sums, long rowC, long y, long pixel) {
    casts.narrowRows(DType.BF16, pixels, columns, sums, rowC, y, Short.BYTES * pixel);
  }
}
