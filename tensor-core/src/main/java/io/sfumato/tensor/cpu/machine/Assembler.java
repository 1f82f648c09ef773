// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.machine;

import java.util.Arrays;

/**
 * Encodes the instructions of x86-64 with AVX-512 that the loops of this package are made of. Each
 * method is one instruction and bears its name; operands come in the order of Intel's manuals, the
 * destination first.
 *
 * <p>Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, chapters 2.1
 * (ModRM, SIB), 2.3 (VEX), 2.7 (EVEX, compressed displacement), 3 (AMX).
 */
final class Assembler {
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
    private int indexHigh() {
      return times == 0 ? 0 : index.ordinal() >> 3;
    }

    Address plus(int bytes) {
      return new Address(base, index, times, displacement + bytes);
    }
  }

  // prefixes and opcode maps as VEX and EVEX number them
  private static final int NO_PREFIX = 0;
  private static final int PREFIX_66 = 1;
  private static final int PREFIX_F3 = 2;
  private static final int PREFIX_F2 = 3;
  private static final int MAP_0F = 1;
  private static final int MAP_0F38 = 2;
  private static final int MAP_0F3A = 3;

  private static final int VECTOR_BYTES = 64;
  private static final int FLOAT_BYTES = 4;

  private byte[] bytes = new byte[1 << 12];
  private int size;

  /** Where the next instruction will be, to jump to. */
  int here() {
    return size;
  }

  /** All instructions so far. */
  byte[] code() {
    return Arrays.copyOf(bytes, size);
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

  /** {@code sum = x * y + sum}, rounded once. */
  void vfmadd231ps(int sum, int x, int y) {
    evex(PREFIX_66, MAP_0F38, 0xB8, sum, x, y);
  }

  /** {@code sum[i] = x[i] * y + sum[i]} with one float y from memory, rounded once. */
  void vfmadd231psBroadcast(int sum, int x, Address y) {
    evex(PREFIX_66, MAP_0F38, 0xB8, sum, x, y, FLOAT_BYTES, true);
  }

  /** {@code to = } the floats whose bit in a mask is set, 0 for the others, which are not read. */
  void vmovupsMasked(int to, int mask, Address from) {
    evexPrefix(NO_PREFIX, MAP_0F, to, 0, from.base.ordinal() >> 3, from.indexHigh(), false);
    bytes[size - 1] |= (byte) (0x80 | mask);
    emit(0x10);
    memory(to, from, VECTOR_BYTES);
  }

  void vsubps(int to, int x, int y) {
    evex(NO_PREFIX, MAP_0F, 0x5C, to, x, y);
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

  /** Jumps forward; the answer goes to {@link #land}. */
  int jmpForward() {
    emit(0xE9);
    int at = here();
    int32(0);
    return at;
  }

  /** Lets a jump forward end here. */
  void land(int jump) {
    int end = size;
    size = jump;
    int32(end - (jump + 4));
    size = end;
  }

  private void back(int opcode, int target) {
    emit(0x0F, opcode);
    int32(target - (here() + 4));
  }

  private int forward(int opcode) {
    emit(0x0F, opcode);
    int at = here();
    int32(0);
    return at;
  }

  // Encodings.

  private void integer(int opcode, Register reg, Register rm) {
    emit(0x48 | (reg.ordinal() >> 3) << 2 | rm.ordinal() >> 3, opcode);
    emit(0xC0 | (reg.ordinal() & 7) << 3 | rm.ordinal() & 7);
  }

  private void integer(int opcode, Register reg, Address rm) {
    rex(reg.ordinal(), rm, true);
    emit(opcode);
    memory(reg.ordinal(), rm, 1);
  }

  private void immediate(int extension, Register rm, int value) {
    boolean small = value == (byte) value;
    emit(0x48 | rm.ordinal() >> 3, small ? 0x83 : 0x81);
    emit(0xC0 | extension << 3 | rm.ordinal() & 7);
    if (small) {
      emit(value);
    } else {
      int32(value);
    }
  }

  private void stack(int opcode, Register register) {
    if (register.ordinal() >= 8) {
      emit(0x41);
    }
    emit(opcode | register.ordinal() & 7);
  }

  private void rex(int reg, Address rm, boolean wide) {
    int bits = (wide ? 8 : 0) | (reg >> 3) << 2 | rm.indexHigh() << 1 | rm.base.ordinal() >> 3;
    if (bits != 0) {
      emit(0x40 | bits);
    }
  }

  private void vex(int prefix, int map, int opcode, int reg, int x, int rm) {
    vexPrefix(prefix, map, reg, x, rm >> 3, 0, 0);
    emit(opcode, 0xC0 | (reg & 7) << 3 | rm & 7);
  }

  /** For masks with three operands, which count as 256 bits. */
  private void vexLong(int prefix, int map, int opcode, int reg, int x, int rm) {
    vexPrefix(prefix, map, reg, x, 0, 0, 1);
    emit(opcode, 0xC0 | reg << 3 | rm);
  }

  private void vex(int prefix, int map, int opcode, int reg, int x, Address rm) {
    vexPrefix(prefix, map, reg, x, rm.base.ordinal() >> 3, rm.indexHigh(), 0);
    emit(opcode);
    memory(reg, rm, 1);
  }

  /** Two or three bytes; the high bits of register numbers are in there inverted. */
  private void vexPrefix(
      int prefix, int map, int reg, int x, int rmHigh, int indexHigh, int length) {
    int r = (~reg >> 3 & 1) << 7;
    int last = (~x & 15) << 3 | length << 2 | prefix;
    if (map == MAP_0F && rmHigh == 0 && indexHigh == 0) {
      emit(0xC5, r | last);
    } else {
      emit(0xC4, r | (~indexHigh & 1) << 6 | (~rmHigh & 1) << 5 | map, last);
    }
  }

  private void evex(int prefix, int map, int opcode, int reg, int x, int rm) {
    evexPrefix(prefix, map, reg, x, rm >> 3 & 1, rm >> 4, false);
    emit(opcode, 0xC0 | (reg & 7) << 3 | rm & 7);
  }

  /**
   * With an operand in memory.
   *
   * @param unit the bytes that are read or written, which a displacement of one byte counts
   */
  private void evex(
      int prefix, int map, int opcode, int reg, int x, Address rm, int unit, boolean broadcast) {
    evexPrefix(prefix, map, reg, x, rm.base.ordinal() >> 3, rm.indexHigh(), broadcast);
    emit(opcode);
    memory(reg, rm, unit);
  }

  /** Four bytes; the high bits of register numbers are in there inverted. */
  private void evexPrefix(
      int prefix, int map, int reg, int x, int rmHigh, int indexHigh, boolean broadcast) {
    int r = ~reg >> 3 & 1;
    int r2 = ~reg >> 4 & 1;
    emit(
        0x62,
        r << 7 | (~indexHigh & 1) << 6 | (~rmHigh & 1) << 5 | r2 << 4 | map,
        (~x & 15) << 3 | 4 | prefix,
        2 << 5 | (broadcast ? 16 : 0) | (~x >> 4 & 1) << 3);
  }

  /**
   * ModRM, SIB and displacement.
   *
   * @param unit what a displacement of one byte counts
   */
  private void memory(int reg, Address rm, int unit) {
    int base = rm.base.ordinal() & 7;
    int displacement = rm.displacement;
    int units = displacement / unit;
    boolean small = displacement % unit == 0 && units == (byte) units;
    // base 5 without displacement would mean something else
    int mod = displacement == 0 && base != 5 ? 0 : small ? 1 : 2;
    boolean sib = rm.times != 0 || base == 4;
    emit(mod << 6 | (reg & 7) << 3 | (sib ? 4 : base));
    if (sib) {
      int index = rm.times == 0 ? 4 : rm.index.ordinal() & 7;
      emit(Integer.numberOfTrailingZeros(Math.max(1, rm.times)) << 6 | index << 3 | base);
    }
    if (mod == 1) {
      emit(units);
    } else if (mod == 2) {
      int32(displacement);
    }
  }

  private void int32(int value) {
    emit(value, value >> 8, value >> 16, value >> 24);
  }

  private void emit(int... values) {
    if (size + values.length > bytes.length) {
      bytes = Arrays.copyOf(bytes, 2 * bytes.length);
    }
    for (int value : values) {
      bytes[size++] = (byte) value;
    }
  }
}
