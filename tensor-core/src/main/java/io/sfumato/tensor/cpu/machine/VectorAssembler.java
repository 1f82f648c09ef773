// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.machine;

import io.sfumato.tensor.cpu.machine.Assembler.Address;
import io.sfumato.tensor.cpu.machine.Assembler.Register;

/** The instructions of {@link Assembler} on vectors (AVX-512) and masks. */
abstract class VectorAssembler extends Encoder {
  // Vectors of 16 floats, zmm0 to zmm31.

  /** {@code to = x ^ y}; a vector with itself gives zero. */
  void vpxord(int to, int x, int y) {
    evex(PREFIX_66, MAP_0F, 0xEF, to, x, y);
  }

  void vmovups(int to, Address from) {
    evex(NO_PREFIX, MAP_0F, 0x10, to, 0, from, VECTOR_BYTES, false);
  }

  void vmovups(Address to, int from) {
    evex(NO_PREFIX, MAP_0F, 0x11, from, 0, to, VECTOR_BYTES, false);
  }

  /** {@code to[i] = } the float at {@code from}. */
  void vbroadcastss(int to, Address from) {
    evex(PREFIX_66, MAP_0F38, 0x18, to, 0, from, FLOAT_BYTES, false);
  }

  void vaddps(int to, int x, Address y) {
    evex(NO_PREFIX, MAP_0F, 0x58, to, x, y, VECTOR_BYTES, false);
  }

  void vaddps(int to, int x, int y) {
    evex(NO_PREFIX, MAP_0F, 0x58, to, x, y);
  }

  /** {@code to[i] = x[i] + y} with one float y from memory. */
  void vaddpsBroadcast(int to, int x, Address y) {
    evex(NO_PREFIX, MAP_0F, 0x58, to, x, y, FLOAT_BYTES, true);
  }

  void vmulps(int to, int x, int y) {
    evex(NO_PREFIX, MAP_0F, 0x59, to, x, y);
  }

  void vdivps(int to, int x, int y) {
    evex(NO_PREFIX, MAP_0F, 0x5E, to, x, y);
  }

  void vsqrtps(int to, int x) {
    evex(NO_PREFIX, MAP_0F, 0x51, to, 0, x);
  }

  /** {@code sum = x * y + sum}, rounded once. */
  void vfmadd231ps(int sum, int x, int y) {
    evex(PREFIX_66, MAP_0F38, 0xB8, sum, x, y);
  }

  /** {@code factor = factor * x + y}, rounded once. */
  void vfmadd213ps(int factor, int x, int y) {
    evex(PREFIX_66, MAP_0F38, 0xA8, factor, x, y);
  }

  /** {@code sum[i] = x[i] * y + sum[i]} with one float y from memory, rounded once. */
  void vfmadd231psBroadcast(int sum, int x, Address y) {
    evex(PREFIX_66, MAP_0F38, 0xB8, sum, x, y, FLOAT_BYTES, true);
  }

  /** {@code to = } the floats whose bit in a mask is set, 0 for the others, which are not read. */
  void vmovupsMasked(int to, int mask, Address from) {
    evexMasked(NO_PREFIX, MAP_0F, 0x10, to, mask, from, VECTOR_BYTES, true);
  }

  /** Writes the floats whose bit in a mask is set. */
  void vmovupsMasked(Address to, int mask, int from) {
    evexMasked(NO_PREFIX, MAP_0F, 0x11, from, mask, to, VECTOR_BYTES, false);
  }

  /** {@code x - y} where a mask is set, else 0. */
  void vsubpsMasked(int to, int mask, int x, int y) {
    evexMasked(NO_PREFIX, MAP_0F, 0x5C, to, x, y, mask, true);
  }

  /** The floats whose bit in a mask is set, side by side; 0 behind them. */
  void vcompressps(int to, int mask, int from) {
    evexMasked(PREFIX_66, MAP_0F38, 0x8A, from, 0, to, mask, true);
  }

  /**
   * Quarters of vectors: two of x, then two of y, each chosen by two bits of {@code which}, the
   * lowest first.
   */
  void vshuff32x4(int to, int x, int y, int which) {
    evex(PREFIX_66, MAP_0F3A, 0x23, to, x, y);
    emit(which);
  }

  void vsubps(int to, int x, int y) {
    evex(NO_PREFIX, MAP_0F, 0x5C, to, x, y);
  }

  /** {@code to = x * y} where a mask is set, else 0. */
  void vmulpsMasked(int to, int mask, int x, int y) {
    evexMasked(NO_PREFIX, MAP_0F, 0x59, to, x, y, mask, true);
  }

  /** Sets the bit of a mask where another one is set and not {@code x < y}: NaN counts. */
  void vcmpnltpsMasked(int to, int mask, int x, int y) {
    evexMasked(NO_PREFIX, MAP_0F, 0xC2, to, x, y, mask, false);
    emit(5);
  }

  /** Integers of 32 bits. */
  void vpaddd(int to, int x, int y) {
    evex(PREFIX_66, MAP_0F, 0xFE, to, x, y);
  }

  void vpandd(int to, int x, int y) {
    evex(PREFIX_66, MAP_0F, 0xDB, to, x, y);
  }

  void vpord(int to, int x, int y) {
    evex(PREFIX_66, MAP_0F, 0xEB, to, x, y);
  }

  /** Integers of 32 bits, zeros enter. */
  void vpsrld(int to, int x, int bits) {
    evex(PREFIX_66, MAP_0F, 0x72, 2, to, x);
    emit(bits);
  }

  /** Integers of 32 bits. */
  void vpslld(int to, int x, int bits) {
    evex(PREFIX_66, MAP_0F, 0x72, 6, to, x);
    emit(bits);
  }

  /** Any function of three bits; 0xFF sets all. */
  void vpternlogd(int to, int x, int y, int table) {
    evex(PREFIX_66, MAP_0F3A, 0x25, to, x, y);
    emit(table);
  }

  /** Unsigned integers of 32 bits. */
  void vpminud(int to, int x, int y) {
    evex(PREFIX_66, MAP_0F38, 0x3B, to, x, y);
  }

  /** Unsigned integers of 32 bits. */
  void vpmaxud(int to, int x, int y) {
    evex(PREFIX_66, MAP_0F38, 0x3F, to, x, y);
  }

  /** Sets the bit of a mask for each {@code x < y} of unsigned integers of 32 bits. */
  void vpcmpltud(int mask, int x, int y) {
    evex(PREFIX_66, MAP_0F3A, 0x1E, mask, x, y);
    emit(1);
  }

  void vpbroadcastd(int to, Register from) {
    evex(PREFIX_66, MAP_0F38, 0x7C, to, 0, from.ordinal());
  }

  /**
   * The 16 integers of 16 bits whose bit in a mask is set, as integers of 32 bits; 0 for the
   * others, which are not read.
   */
  void vpmovzxwdMasked(int to, int mask, Address from) {
    evexMasked(PREFIX_66, MAP_0F38, 0x33, to, mask, from, VECTOR_BYTES / 2, true);
  }

  /** The lower 16 integers of 16 bits as integers of 32 bits. */
  void vpmovzxwd(int to, int from) {
    evex(PREFIX_66, MAP_0F38, 0x33, to, 0, from);
  }

  /** Floats to bfloat16, to nearest, ties to even, denormal numbers to zero: in the lower half. */
  void vcvtneps2bf16(int to, int from) {
    evex(PREFIX_F3, MAP_0F38, 0x72, to, 0, from);
  }

  /** The same of two vectors, to the upper and the lower half. */
  void vcvtne2ps2bf16(int to, int upper, int lower) {
    evex(PREFIX_F2, MAP_0F38, 0x72, to, upper, lower);
  }

  /**
   * The 32 integers of 16 bits whose bit in a mask of 32 bits is set, 0 for the others, which are
   * not read.
   */
  void vmovdqu16Masked(int to, int mask, Address from) {
    evexMasked(PREFIX_F2 | WIDE, MAP_0F, 0x6F, to, mask, from, VECTOR_BYTES, true);
  }

  /** Of each quarter, the lower two integers of 32 bits of x and of y in turn. */
  void vpunpckldq(int to, int x, int y) {
    evex(PREFIX_66, MAP_0F, 0x62, to, x, y);
  }

  /** Of each quarter, the upper two integers of 32 bits of x and of y in turn. */
  void vpunpckhdq(int to, int x, int y) {
    evex(PREFIX_66, MAP_0F, 0x6A, to, x, y);
  }

  /** Of each quarter, the lower halves of x and of y. */
  void vpunpcklqdq(int to, int x, int y) {
    evex(PREFIX_66 | WIDE, MAP_0F, 0x6C, to, x, y);
  }

  /** Of each quarter, the upper halves of x and of y. */
  void vpunpckhqdq(int to, int x, int y) {
    evex(PREFIX_66 | WIDE, MAP_0F, 0x6D, to, x, y);
  }

  // Vectors of 8 doubles, in the same registers.

  void vbroadcastsd(int to, Address from) {
    evex(PREFIX_66 | WIDE, MAP_0F38, 0x19, to, 0, from, DOUBLE_BYTES, false);
  }

  void vaddpd(int to, int x, int y) {
    evex(PREFIX_66 | WIDE, MAP_0F, 0x58, to, x, y);
  }

  /** {@code to = x + y} where a mask is set; the others stay. */
  void vaddpdMasked(int to, int mask, int x, int y) {
    evexMasked(PREFIX_66 | WIDE, MAP_0F, 0x58, to, x, y, mask, false);
  }

  void vmulpd(int to, int x, int y) {
    evex(PREFIX_66 | WIDE, MAP_0F, 0x59, to, x, y);
  }

  void vsubpd(int to, int x, int y) {
    evex(PREFIX_66 | WIDE, MAP_0F, 0x5C, to, x, y);
  }

  void vdivpd(int to, int x, int y) {
    evex(PREFIX_66 | WIDE, MAP_0F, 0x5E, to, x, y);
  }

  /** The larger one; y if either is NaN. */
  void vmaxpd(int to, int x, int y) {
    evex(PREFIX_66 | WIDE, MAP_0F, 0x5F, to, x, y);
  }

  void vsqrtpd(int to, int x) {
    evex(PREFIX_66 | WIDE, MAP_0F, 0x51, to, 0, x);
  }

  /** Sets the bit of a mask where not {@code x <= y}: NaN counts. */
  void vcmpnlepd(int mask, int x, int y) {
    evex(PREFIX_66 | WIDE, MAP_0F, 0xC2, mask, x, y);
    emit(6);
  }

  /** The lower eight floats as doubles. */
  void vcvtps2pd(int to, int from) {
    evex(NO_PREFIX, MAP_0F, 0x5A, to, 0, from);
  }

  /** Doubles to the lower eight floats; the others become 0. */
  void vcvtpd2ps(int to, int from) {
    evex(PREFIX_66 | WIDE, MAP_0F, 0x5A, to, 0, from);
  }

  /** The upper half in the lower one; the upper half becomes 0. */
  void vextractUpper(int to, int from) {
    evex(PREFIX_66 | WIDE, MAP_0F3A, 0x1B, from, 0, to);
    emit(1);
  }

  /** Quarters of vectors, as {@link #vshuff32x4}. */
  void vshuff64x2(int to, int x, int y, int which) {
    evex(PREFIX_66 | WIDE, MAP_0F3A, 0x23, to, x, y);
    emit(which);
  }

  /** Exchanges the two doubles of each pair. */
  void vpermilpdSwap(int to, int from) {
    evex(PREFIX_66 | WIDE, MAP_0F3A, 0x05, to, 0, from);
    emit(0x55);
  }

  /** Exchanges the two pairs of doubles of each half. */
  void vpermpdSwap(int to, int from) {
    evex(PREFIX_66 | WIDE, MAP_0F3A, 0x01, to, 0, from);
    emit(0x4E);
  }

  // Masks, of 16 bits where nothing else is said, k0 to k7.

  void kmovw(int to, Register from) {
    vex(NO_PREFIX, MAP_0F, 0x92, to, 0, from.ordinal());
  }

  void kmovw(Register to, int from) {
    vex(NO_PREFIX, MAP_0F, 0x93, to.ordinal(), 0, from);
  }

  void korw(int to, int x, int y) {
    vexLong(NO_PREFIX, MAP_0F, 0x45, to, x, y);
  }

  /** A mask of 32 bits. */
  void kmovd(int to, Register from) {
    vex(PREFIX_F2, MAP_0F, 0x92, to, 0, from.ordinal());
  }

  /** Ends the use of vectors, so that code with old instructions does not wait for them. */
  void vzeroupper() {
    emit(0xC5, 0xF8, 0x77);
  }
}
