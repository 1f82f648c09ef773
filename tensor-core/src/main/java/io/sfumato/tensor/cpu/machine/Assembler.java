// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.machine;

/**
 * Encodes the instructions of x86-64 with AVX-512 that the loops of this package are made of. Each
 * method is one instruction and bears its name; operands come in the order of Intel's manuals, the
 * destination first.
 *
 * <p>Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, chapters 2.1
 * (ModRM, SIB), 2.3 (VEX), 2.7 (EVEX, compressed displacement), 3 (AMX).
 */
final class Assembler extends Encoder {
  /** Integer registers, in the order of their numbers. */
  enum Register {
    RAX,
    RCX,
    RDX,
    RBX,
    RSP,
    RBP,
    RSI,
    RDI,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15
  }

  /**
   * An operand in memory, {@code [base + times * index + displacement]}.
   *
   * @param base a register
   * @param index another one, not the stack pointer; ignored if {@code times} is 0
   * @param times 0 for no index, 1, 2, 4 or 8
   * @param displacement bytes
   */
  record Address(Register base, Register index, int times, int displacement) {
    static Address at(Register base, int displacement) {
      return new Address(base, base, 0, displacement);
    }

    static Address at(Register base, int times, Register index) {
      return new Address(base, index, times, 0);
    }

    /** The high bit of the index's number. */
    int indexHigh() {
      return times == 0 ? 0 : index.ordinal() >> 3;
    }

    Address plus(int bytes) {
      return new Address(base, index, times, displacement + bytes);
    }
  }

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

  // Masks of 16 bits, k0 to k7.

  void kmovw(int to, Register from) {
    vex(NO_PREFIX, MAP_0F, 0x92, to, 0, from.ordinal());
  }

  void kmovw(Register to, int from) {
    vex(NO_PREFIX, MAP_0F, 0x93, to.ordinal(), 0, from);
  }

  void korw(int to, int x, int y) {
    vexLong(NO_PREFIX, MAP_0F, 0x45, to, x, y);
  }

  // Tiles of 16 rows of 64 bytes, tmm0 to tmm7.

  void ldtilecfg(Address from) {
    vex(NO_PREFIX, MAP_0F38, 0x49, 0, 0, from);
  }

  void tilerelease() {
    vex(NO_PREFIX, MAP_0F38, 0x49, 0, 0, 0);
  }

  void tilezero(int to) {
    vex(PREFIX_F2, MAP_0F38, 0x49, to, 0, 0);
  }

  /** Rows as far apart as the index of the address says. */
  void tileloadd(int to, Address from) {
    vex(PREFIX_F2, MAP_0F38, 0x4B, to, 0, from);
  }

  /** Rows as far apart as the index of the address says. */
  void tilestored(Address to, int from) {
    vex(PREFIX_F3, MAP_0F38, 0x4B, from, 0, to);
  }

  /** {@code sum[m, n] += x[m, 2 k] y[k, 2 n] + x[m, 2 k + 1] y[k, 2 n + 1]} of bfloat16. */
  void tdpbf16ps(int sum, int x, int y) {
    vex(PREFIX_F3, MAP_0F38, 0x5C, sum, y, x);
  }

  /** Ends the use of vectors, so that code with old instructions does not wait for them. */
  void vzeroupper() {
    emit(0xC5, 0xF8, 0x77);
  }

  // Integers of 64 bits.

  void mov(Register to, Register from) {
    integer(0x89, from, to);
  }

  void mov(Register to, Address from) {
    integer(0x8B, to, from);
  }

  void mov(Address to, Register from) {
    integer(0x89, from, to);
  }

  /** The lower half; the upper half becomes zero. */
  void mov(Register to, int x) {
    if (to.ordinal() >= 8) {
      emit(0x41);
    }
    emit(0xB8 | to.ordinal() & 7);
    int32(x);
  }

  void lea(Register to, Address from) {
    integer(0x8D, to, from);
  }

  void add(Register to, Register x) {
    integer(0x01, x, to);
  }

  void add(Register to, int x) {
    immediate(0, to, x);
  }

  /** Compares, for a jump. */
  void cmp(Register x, Register y) {
    integer(0x39, y, x);
  }

  /** Compares with zero, for a jump. */
  void test(Register x) {
    integer(0x85, x, x);
  }

  void sub(Register to, Register x) {
    integer(0x29, x, to);
  }

  void sub(Register to, int x) {
    immediate(5, to, x);
  }

  void shl(Register to, int bits) {
    emit(0x48 | to.ordinal() >> 3, 0xC1, 0xE0 | to.ordinal() & 7, bits);
  }

  void push(Register from) {
    stack(0x50, from);
  }

  void pop(Register to) {
    stack(0x58, to);
  }

  /** Asks for the cache line at an address, which need not be one that can be read. */
  void prefetcht0(Address at) {
    prefetch(1, at);
  }

  /** Likewise, for the L2 cache. */
  void prefetcht1(Address at) {
    prefetch(2, at);
  }

  private void prefetch(int level, Address at) {
    rex(0, at, false);
    emit(0x0F, 0x18);
    memory(level, at, 1);
  }

  /** What the processor can do: by EAX and ECX to EAX, EBX, ECX and EDX. */
  void cpuid() {
    emit(0x0F, 0xA2);
  }

  /** Calls the system; changes RCX and R11. */
  void syscall() {
    emit(0x0F, 0x05);
  }

  /** Saves registers on the stack; {@link #leave} restores them. */
  void enter(Register... saved) {
    for (Register register : saved) {
      push(register);
    }
  }

  /** Restores registers that {@link #enter} saved, and returns. */
  void leave(Register... saved) {
    for (int i = saved.length - 1; i >= 0; i--) {
      pop(saved[i]);
    }
    ret();
  }

  void ret() {
    emit(0xC3);
  }

  // Jumps; forward ones are completed by land().

  /** Jumps back if the last result was zero or more. */
  void jgeBack(int target) {
    back(0x8D, target);
  }

  /** Jumps back if the last result was not zero. */
  void jnzBack(int target) {
    back(0x85, target);
  }

  /** Jumps forward if the last result was less than zero; the answer goes to {@link #land}. */
  int jlForward() {
    return forward(0x8C);
  }

  /** Jumps forward if the last result was zero; the answer goes to {@link #land}. */
  int jzForward() {
    return forward(0x84);
  }

  /** Jumps forward if the last result was not zero; the answer goes to {@link #land}. */
  int jnzForward() {
    return forward(0x85);
  }

  /** Jumps forward; the answer goes to {@link #land}. */
  int jmpForward() {
    emit(0xE9);
    int at = here();
    int32(0);
    return at;
  }
}
