// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.Memory.ALL;
import static io.sfumato.tensor.cpu.Memory.at;
import static io.sfumato.tensor.cpu.simd.Lanes.ORDER;

import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.LongVector;
import jdk.incubator.vector.VectorSpecies;

/** Rearranges rows of A for {@link Tile6Known#packed}, 16 columns at a time. */
final class SlabVectors {
  static final int COLUMNS = 16;

  private static final VectorSpecies<Integer> I = IntVector.SPECIES_512;
  private static final VectorSpecies<Long> L = LongVector.SPECIES_512;

  // Values of two rows alternately: where each comes from, 16 and more being the second row.
  static final int[] LOW = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
  static final int[] HIGH = {8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};

  // A column is three pairs: for each third of eight columns where the first two pairs come from,
  // then all with the last pair, which is 8 and more.
  private static final long[] FIRST = {0, 8, 0, 1, 9, 0, 2, 10};
  private static final long[] FIRST_LAST = {0, 1, 8, 3, 4, 9, 6, 7};
  private static final long[] SECOND = {0, 3, 11, 0, 4, 12, 0, 5};
  private static final long[] SECOND_LAST = {10, 1, 2, 11, 4, 5, 12, 7};
  private static final long[] THIRD = {13, 0, 6, 14, 0, 7, 15, 0};
  private static final long[] THIRD_LAST = {0, 13, 2, 3, 14, 5, 6, 15};

  private SlabVectors() {}

  /**
   * {@code slab[p, r] = a[r, p]} for six rows.
   *
   * @param k columns, a multiple of {@value #COLUMNS}
   * @param a address of the rows
   * @param step bytes from one row to the next
   * @param slab address of the result
   */
  static void pack(int k, long a, long step, long slab) {
    long a1 = a + step;
    long a2 = a1 + step;
    long a3 = a2 + step;
    long a4 = a3 + step;
    long a5 = a4 + step;
    IntVector low = IntVector.fromArray(I, LOW, 0);
    IntVector high = IntVector.fromArray(I, HIGH, 0);
    LongVector first = LongVector.fromArray(L, FIRST, 0);
    LongVector firstLast = LongVector.fromArray(L, FIRST_LAST, 0);
    LongVector second = LongVector.fromArray(L, SECOND, 0);
    LongVector secondLast = LongVector.fromArray(L, SECOND_LAST, 0);
    LongVector third = LongVector.fromArray(L, THIRD, 0);
    LongVector thirdLast = LongVector.fromArray(L, THIRD_LAST, 0);
    long end = 4L * k;
    for (long o = 0; o < end; o += 4 * COLUMNS) {
      IntVector r0 = IntVector.fromMemorySegment(I, ALL, at(a, o), ORDER);
      IntVector r1 = IntVector.fromMemorySegment(I, ALL, at(a1, o), ORDER);
      IntVector r2 = IntVector.fromMemorySegment(I, ALL, at(a2, o), ORDER);
      IntVector r3 = IntVector.fromMemorySegment(I, ALL, at(a3, o), ORDER);
      IntVector r4 = IntVector.fromMemorySegment(I, ALL, at(a4, o), ORDER);
      IntVector r5 = IntVector.fromMemorySegment(I, ALL, at(a5, o), ORDER);
      LongVector x = low.selectFrom(r0, r1).reinterpretAsLongs();
      LongVector y = low.selectFrom(r2, r3).reinterpretAsLongs();
      LongVector z = low.selectFrom(r4, r5).reinterpretAsLongs();
      long to = at(slab, 6 * o);
      firstLast.selectFrom(first.selectFrom(x, y), z).intoMemorySegment(ALL, to, ORDER);
      secondLast.selectFrom(second.selectFrom(x, y), z).intoMemorySegment(ALL, to + 64, ORDER);
      thirdLast.selectFrom(third.selectFrom(x, y), z).intoMemorySegment(ALL, to + 128, ORDER);
      x = high.selectFrom(r0, r1).reinterpretAsLongs();
      y = high.selectFrom(r2, r3).reinterpretAsLongs();
      z = high.selectFrom(r4, r5).reinterpretAsLongs();
      firstLast.selectFrom(first.selectFrom(x, y), z).intoMemorySegment(ALL, to + 192, ORDER);
      secondLast.selectFrom(second.selectFrom(x, y), z).intoMemorySegment(ALL, to + 256, ORDER);
      thirdLast.selectFrom(third.selectFrom(x, y), z).intoMemorySegment(ALL, to + 320, ORDER);
    }
  }
}
