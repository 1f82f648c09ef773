// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.Memory.ALL;
import static io.sfumato.tensor.cpu.simd.Lanes.I;
import static io.sfumato.tensor.cpu.simd.Lanes.N;
import static io.sfumato.tensor.cpu.simd.Lanes.ORDER;
import static io.sfumato.tensor.cpu.simd.Lanes.load;
import static io.sfumato.tensor.cpu.simd.Lanes.store;
import static io.sfumato.tensor.cpu.simd.Lanes.whole;

import io.sfumato.tensor.cpu.CastLoops;
import io.sfumato.tensor.cpu.Memory;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/** {@link CastLoops} over the Vector API, by integer arithmetic on the bit patterns. */
final class VectorCastLoops implements CastLoops {
  /** As many shorts as a float vector has lanes. */
  private static final VectorSpecies<Short> H =
      VectorSpecies.of(short.class, VectorShape.forBitSize(Lanes.F.vectorBitSize() / 2));

  private static final int INFINITY = 0x7f800000;

  @Override
  public void floatToBfloat16(long from, long to, int n) {
    int whole = whole(n);
    narrowBfloat16(from, to, whole);
    if (whole < n) {
      long pad = Lanes.pads();
      Lanes.copyRest(from + whole * 4L, pad, n - whole);
      narrowBfloat16(pad, pad + 64, N);
      copyShorts(pad + 64, to + whole * 2L, n - whole);
    }
  }

  @Override
  public void bfloat16ToFloat(long from, long to, int n) {
    int whole = whole(n);
    widenBfloat16(from, to, whole);
    if (whole < n) {
      long pad = Lanes.pads();
      copyShorts(from + whole * 2L, pad, n - whole);
      widenBfloat16(pad, pad + 64, N);
      Lanes.copyRest(pad + 64, to + whole * 4L, n - whole);
    }
  }

  @Override
  public void floatToFloat16(long from, long to, int n) {
    int whole = whole(n);
    narrowFloat16(from, to, whole);
    if (whole < n) {
      long pad = Lanes.pads();
      Lanes.copyRest(from + whole * 4L, pad, n - whole);
      narrowFloat16(pad, pad + 64, N);
      copyShorts(pad + 64, to + whole * 2L, n - whole);
    }
  }

  @Override
  public void float16ToFloat(long from, long to, int n) {
    int whole = whole(n);
    widenFloat16(from, to, whole);
    if (whole < n) {
      long pad = Lanes.pads();
      copyShorts(from + whole * 2L, pad, n - whole);
      widenFloat16(pad, pad + 64, N);
      Lanes.copyRest(pad + 64, to + whole * 4L, n - whole);
    }
  }

  private static void copyShorts(long from, long to, int n) {
    for (int i = 0; i < n; i++) {
      Memory.putShort(to + i * 2L, Memory.getShort(from + i * 2L));
    }
  }

  /** Adds half of the last kept place, less one unless that place is odd, and cuts. */
  private static void narrowBfloat16(long from, long to, int n) {
    for (int i = 0; i < n; i += N) {
      FloatVector x = load(from, i * 4L);
      IntVector bits = x.reinterpretAsInts();
      IntVector odd = bits.lanewise(VectorOperators.LSHR, 16).and(1);
      IntVector rounded = bits.add(odd).add(0x7fff).lanewise(VectorOperators.LSHR, 16);
      IntVector nan = bits.lanewise(VectorOperators.LSHR, 16).or(0x40);
      VectorMask<Integer> isNan = bits.and(0x7fffffff).compare(VectorOperators.GT, INFINITY);
      ((ShortVector) rounded.blend(nan, isNan).convertShape(VectorOperators.I2S, H, 0))
          .intoMemorySegment(ALL, Memory.at(to, i * 2L), ORDER);
    }
  }

  private static void widenBfloat16(long from, long to, int n) {
    for (int i = 0; i < n; i += N) {
      ShortVector h = ShortVector.fromMemorySegment(H, ALL, Memory.at(from, i * 2L), ORDER);
      IntVector bits = (IntVector) h.convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0);
      store(bits.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats(), to, i * 4L);
    }
  }

  /**
   * Normal results: round at bit 13 and move the exponent. Subnormal ones: adding 1/2 to |x| puts
   * the last place of binary16 at the last place of the sum.
   */
  private static void narrowFloat16(long from, long to, int n) {
    for (int i = 0; i < n; i += N) {
      IntVector bits = load(from, i * 4L).reinterpretAsInts();
      IntVector a = bits.and(0x7fffffff);
      IntVector odd = a.lanewise(VectorOperators.LSHR, 13).and(1);
      IntVector h = a.add(odd).add(0xfff - (112 << 23)).lanewise(VectorOperators.LSHR, 13);
      IntVector small = a.reinterpretAsFloats().add(0.5f).reinterpretAsInts().sub(0x3f000000);
      h = h.blend(small, a.compare(VectorOperators.LT, 0x38800000));
      h = h.blend(0x7c00, a.compare(VectorOperators.GE, 0x477ff000));
      IntVector nan = a.lanewise(VectorOperators.LSHR, 13).and(0x3ff).or(0x7e00);
      h = h.blend(nan, a.compare(VectorOperators.GT, INFINITY));
      h = h.or(bits.lanewise(VectorOperators.LSHR, 16).and(0x8000));
      ((ShortVector) h.convertShape(VectorOperators.I2S, H, 0))
          .intoMemorySegment(ALL, Memory.at(to, i * 2L), ORDER);
    }
  }

  private static void widenFloat16(long from, long to, int n) {
    for (int i = 0; i < n; i += N) {
      ShortVector s = ShortVector.fromMemorySegment(H, ALL, Memory.at(from, i * 2L), ORDER);
      IntVector h = (IntVector) s.convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0);
      IntVector a = h.and(0x7fff).lanewise(VectorOperators.LSHL, 13);
      IntVector bits = a.reinterpretAsFloats().mul(0x1p112f).reinterpretAsInts();
      bits = bits.blend(a.or(INFINITY), a.compare(VectorOperators.GE, 0x7c00 << 13));
      bits = bits.or(h.and(0x8000).lanewise(VectorOperators.LSHL, 16));
      store(bits.reinterpretAsFloats(), to, i * 4L);
    }
  }
}
