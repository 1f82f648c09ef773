// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.Memory.ALL;
import static io.sfumato.tensor.cpu.simd.Lanes.ORDER;

import io.sfumato.tensor.cpu.Memory;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorSpecies;

/**
 * Transposes blocks of 16 x 16 floats in registers. Row i and row i + 8, shuffled as cards are,
 * give rows 2i and 2i + 1. In the address of an element, row before column, that moves each bit up
 * by one place and the topmost to the end; four times exchange the row's four bits for the
 * column's.
 */
final class TransposeVectors {
  /** Rows and columns of a block. */
  static final int SIDE = 16;

  /** So few rows are a block too: those of the taps of most convolutions. */
  static final int NINE = 9;

  private static final VectorSpecies<Integer> I = IntVector.SPECIES_512;
  private static final VectorSpecies<Float> F = FloatVector.SPECIES_512;
  private static final long BASE = Memory.BASE;

  private TransposeVectors() {}

  /**
   * {@code to[p, i] = scale * from[i, p]} for 9, 14 or 16 rows. Each row of the result but the last
   * of a block is written 16 floats long, before the next one.
   *
   * @param k the length of the rows, a multiple of {@value #SIDE}
   * @param rows 9, 14 or 16
   * @param scale a factor
   * @param from address of the rows
   * @param step bytes from one row to the next
   * @param to address of the result
   * @param toStep bytes from one row of the result to the next
   */
  static void transpose(int k, int rows, float scale, long from, long step, long to, long toStep) {
    VectorMask<Float> last = F.indexInRange(0, rows);
    // rows that are not there are others once more
    long beyondNine = rows > NINE ? step : 0;
    long beyond = rows == SIDE ? step : 0;
    IntVector low = IntVector.fromArray(I, SlabVectors.LOW, 0);
    IntVector high = IntVector.fromArray(I, SlabVectors.HIGH, 0);
    for (int p = 0; p < k; p += SIDE) {
      long s = from + 4L * p;
      s &= BASE;
      IntVector a0 = IntVector.fromMemorySegment(I, ALL, s, ORDER);
      s += step;
      s &= BASE;
      IntVector a1 = IntVector.fromMemorySegment(I, ALL, s, ORDER);
      s += step;
      s &= BASE;
      IntVector a2 = IntVector.fromMemorySegment(I, ALL, s, ORDER);
      s += step;
      s &= BASE;
      IntVector a3 = IntVector.fromMemorySegment(I, ALL, s, ORDER);
      s += step;
      s &= BASE;
      IntVector a4 = IntVector.fromMemorySegment(I, ALL, s, ORDER);
      s += step;
      s &= BASE;
      IntVector a5 = IntVector.fromMemorySegment(I, ALL, s, ORDER);
      s += step;
      s &= BASE;
      IntVector a6 = IntVector.fromMemorySegment(I, ALL, s, ORDER);
      s += step;
      s &= BASE;
      IntVector a7 = IntVector.fromMemorySegment(I, ALL, s, ORDER);
      s += step;
      s &= BASE;
      IntVector a8 = IntVector.fromMemorySegment(I, ALL, s, ORDER);
      s += beyondNine;
      s &= BASE;
      IntVector a9 = IntVector.fromMemorySegment(I, ALL, s, ORDER);
      s += beyondNine;
      s &= BASE;
      IntVector a10 = IntVector.fromMemorySegment(I, ALL, s, ORDER);
      s += beyondNine;
      s &= BASE;
      IntVector a11 = IntVector.fromMemorySegment(I, ALL, s, ORDER);
      s += beyondNine;
      s &= BASE;
      IntVector a12 = IntVector.fromMemorySegment(I, ALL, s, ORDER);
      s += beyondNine;
      s &= BASE;
      IntVector a13 = IntVector.fromMemorySegment(I, ALL, s, ORDER);
      s += beyond;
      s &= BASE;
      IntVector a14 = IntVector.fromMemorySegment(I, ALL, s, ORDER);
      s += beyond;
      s &= BASE;
      IntVector a15 = IntVector.fromMemorySegment(I, ALL, s, ORDER);
      IntVector b0 = low.selectFrom(a0, a8);
      IntVector b1 = high.selectFrom(a0, a8);
      IntVector b2 = low.selectFrom(a1, a9);
      IntVector b3 = high.selectFrom(a1, a9);
      IntVector b4 = low.selectFrom(a2, a10);
      IntVector b5 = high.selectFrom(a2, a10);
      IntVector b6 = low.selectFrom(a3, a11);
      IntVector b7 = high.selectFrom(a3, a11);
      IntVector b8 = low.selectFrom(a4, a12);
      IntVector b9 = high.selectFrom(a4, a12);
      IntVector b10 = low.selectFrom(a5, a13);
      IntVector b11 = high.selectFrom(a5, a13);
      IntVector b12 = low.selectFrom(a6, a14);
      IntVector b13 = high.selectFrom(a6, a14);
      IntVector b14 = low.selectFrom(a7, a15);
      IntVector b15 = high.selectFrom(a7, a15);
      IntVector c0 = low.selectFrom(b0, b8);
      IntVector c1 = high.selectFrom(b0, b8);
      IntVector c2 = low.selectFrom(b1, b9);
      IntVector c3 = high.selectFrom(b1, b9);
      IntVector c4 = low.selectFrom(b2, b10);
      IntVector c5 = high.selectFrom(b2, b10);
      IntVector c6 = low.selectFrom(b3, b11);
      IntVector c7 = high.selectFrom(b3, b11);
      IntVector c8 = low.selectFrom(b4, b12);
      IntVector c9 = high.selectFrom(b4, b12);
      IntVector c10 = low.selectFrom(b5, b13);
      IntVector c11 = high.selectFrom(b5, b13);
      IntVector c12 = low.selectFrom(b6, b14);
      IntVector c13 = high.selectFrom(b6, b14);
      IntVector c14 = low.selectFrom(b7, b15);
      IntVector c15 = high.selectFrom(b7, b15);
      IntVector d0 = low.selectFrom(c0, c8);
      IntVector d1 = high.selectFrom(c0, c8);
      IntVector d2 = low.selectFrom(c1, c9);
      IntVector d3 = high.selectFrom(c1, c9);
      IntVector d4 = low.selectFrom(c2, c10);
      IntVector d5 = high.selectFrom(c2, c10);
      IntVector d6 = low.selectFrom(c3, c11);
      IntVector d7 = high.selectFrom(c3, c11);
      IntVector d8 = low.selectFrom(c4, c12);
      IntVector d9 = high.selectFrom(c4, c12);
      IntVector d10 = low.selectFrom(c5, c13);
      IntVector d11 = high.selectFrom(c5, c13);
      IntVector d12 = low.selectFrom(c6, c14);
      IntVector d13 = high.selectFrom(c6, c14);
      IntVector d14 = low.selectFrom(c7, c15);
      IntVector d15 = high.selectFrom(c7, c15);
      IntVector e0 = low.selectFrom(d0, d8);
      IntVector e1 = high.selectFrom(d0, d8);
      IntVector e2 = low.selectFrom(d1, d9);
      IntVector e3 = high.selectFrom(d1, d9);
      IntVector e4 = low.selectFrom(d2, d10);
      IntVector e5 = high.selectFrom(d2, d10);
      IntVector e6 = low.selectFrom(d3, d11);
      IntVector e7 = high.selectFrom(d3, d11);
      IntVector e8 = low.selectFrom(d4, d12);
      IntVector e9 = high.selectFrom(d4, d12);
      IntVector e10 = low.selectFrom(d5, d13);
      IntVector e11 = high.selectFrom(d5, d13);
      IntVector e12 = low.selectFrom(d6, d14);
      IntVector e13 = high.selectFrom(d6, d14);
      IntVector e14 = low.selectFrom(d7, d15);
      IntVector e15 = high.selectFrom(d7, d15);
      to &= BASE;
      e0.reinterpretAsFloats().mul(scale).intoMemorySegment(ALL, to, ORDER);
      to += toStep;
      to &= BASE;
      e1.reinterpretAsFloats().mul(scale).intoMemorySegment(ALL, to, ORDER);
      to += toStep;
      to &= BASE;
      e2.reinterpretAsFloats().mul(scale).intoMemorySegment(ALL, to, ORDER);
      to += toStep;
      to &= BASE;
      e3.reinterpretAsFloats().mul(scale).intoMemorySegment(ALL, to, ORDER);
      to += toStep;
      to &= BASE;
      e4.reinterpretAsFloats().mul(scale).intoMemorySegment(ALL, to, ORDER);
      to += toStep;
      to &= BASE;
      e5.reinterpretAsFloats().mul(scale).intoMemorySegment(ALL, to, ORDER);
      to += toStep;
      to &= BASE;
      e6.reinterpretAsFloats().mul(scale).intoMemorySegment(ALL, to, ORDER);
      to += toStep;
      to &= BASE;
      e7.reinterpretAsFloats().mul(scale).intoMemorySegment(ALL, to, ORDER);
      to += toStep;
      to &= BASE;
      e8.reinterpretAsFloats().mul(scale).intoMemorySegment(ALL, to, ORDER);
      to += toStep;
      to &= BASE;
      e9.reinterpretAsFloats().mul(scale).intoMemorySegment(ALL, to, ORDER);
      to += toStep;
      to &= BASE;
      e10.reinterpretAsFloats().mul(scale).intoMemorySegment(ALL, to, ORDER);
      to += toStep;
      to &= BASE;
      e11.reinterpretAsFloats().mul(scale).intoMemorySegment(ALL, to, ORDER);
      to += toStep;
      to &= BASE;
      e12.reinterpretAsFloats().mul(scale).intoMemorySegment(ALL, to, ORDER);
      to += toStep;
      to &= BASE;
      e13.reinterpretAsFloats().mul(scale).intoMemorySegment(ALL, to, ORDER);
      to += toStep;
      to &= BASE;
      e14.reinterpretAsFloats().mul(scale).intoMemorySegment(ALL, to, ORDER);
      to += toStep;
      to &= BASE;
      e15.reinterpretAsFloats().mul(scale).intoMemorySegment(ALL, to, ORDER, last);
      to += toStep;
    }
  }
}
