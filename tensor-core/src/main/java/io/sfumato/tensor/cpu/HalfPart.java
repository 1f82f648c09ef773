// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.Gemm.Term;

/** A part of a product of bfloat16 on a {@link HalfUnit}. */
final class HalfPart extends TermPart {
  private static final int K_BLOCK = HalfOperands.K_BLOCK;
  private static final int SIDE = MatrixUnit.SIDE;

  private final HalfUnit unit;

  HalfPart(GemmTile tile, HalfUnit unit, int batch, int n, Term term, int first, int k) {
    super(tile, batch, n, SplitOperands.count(n), term, first, k);
    this.unit = unit;
  }

  @Override
  boolean packs() {
    return !packed;
  }

  @Override
  long productFloats() {
    return HalfOperands.allBytes(k, n) / 4;
  }

  @Override
  public void pack(int begin, int end) {
    int last;
    for (int i = begin; i < end; i = last) {
      int product = i / panels;
      last = Math.min(end, (product + 1) * panels);
      HalfOperands.panels(
          unit,
          k,
          n,
          i - product * panels,
          last - product * panels,
          b.at(0, 0, product),
          panelsOf(product));
    }
  }

  @Override
  public void multiply(
      int product,
      int row,
      int rows,
      int firstPanel,
      int lastPanel,
      long start,
      long out,
      long ldc,
      boolean add) {
    int j = firstPanel * SIDE;
    int columns = Math.min(n, lastPanel * SIDE) - j;
    long panelBytes = HalfOperands.bytes(depth);
    long right = panelsOf(product) + firstPanel * panelBytes + HalfOperands.bytes(skipped);
    long bias = start == 0 ? 0 : start + 4L * j;
    boolean sum = add;
    for (int p = 0; p < k; p += K_BLOCK) {
      HalfProducts.multiply(
          tile,
          unit,
          rows,
          columns,
          Math.min(K_BLOCK, k - p),
          a.at(row, p, product),
          right + HalfOperands.bytes(p),
          panelBytes,
          sum ? 0 : bias,
          out + 4L * j,
          ldc,
          sum);
      sum = true;
    }
  }
}
