// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.machine;

import io.sfumato.tensor.cpu.machine.Assembler.Address;
import io.sfumato.tensor.cpu.machine.Assembler.Register;
import java.util.Arrays;

/** How the instructions of {@link Assembler} become bytes. */
abstract class Encoder {
  // prefixes and opcode maps as VEX and EVEX number them
  static final int NO_PREFIX = 0;
  static final int PREFIX_66 = 1;
  static final int PREFIX_F3 = 2;
  static final int PREFIX_F2 = 3;

  /** Beside a prefix of EVEX: operands of 64 bits. */
  static final int WIDE = 0x80;

  static final int MAP_0F = 1;
  static final int MAP_0F38 = 2;
  static final int MAP_0F3A = 3;

  static final int VECTOR_BYTES = 64;
  static final int FLOAT_BYTES = 4;
  static final int DOUBLE_BYTES = 8;

  private byte[] bytes = new byte[1 << 12];
  private int size;

  /** Where the next instruction will be, to jump to. */
  final int here() {
    return size;
  }

  /** All instructions so far. */
  final byte[] code() {
    return Arrays.copyOf(bytes, size);
  }

  /** Lets a jump forward end here. */
  final void land(int jump) {
    int end = size;
    size = jump;
    int32(end - (jump + 4));
    size = end;
  }

  final void back(int opcode, int target) {
    emit(0x0F, opcode);
    int32(target - (here() + 4));
  }

  final int forward(int opcode) {
    emit(0x0F, opcode);
    int at = here();
    int32(0);
    return at;
  }

  final void integer(int opcode, Register reg, Register rm) {
    emit(0x48 | (reg.ordinal() >> 3) << 2 | rm.ordinal() >> 3, opcode);
    emit(0xC0 | (reg.ordinal() & 7) << 3 | rm.ordinal() & 7);
  }

  final void integer(int opcode, Register reg, Address rm) {
    rex(reg.ordinal(), rm, true);
    emit(opcode);
    memory(reg.ordinal(), rm, 1);
  }

  final void immediate(int extension, Register rm, int value) {
    boolean small = value == (byte) value;
    emit(0x48 | rm.ordinal() >> 3, small ? 0x83 : 0x81);
    emit(0xC0 | extension << 3 | rm.ordinal() & 7);
    if (small) {
      emit(value);
    } else {
      int32(value);
    }
  }

  final void stack(int opcode, Register register) {
    if (register.ordinal() >= 8) {
      emit(0x41);
    }
    emit(opcode | register.ordinal() & 7);
  }

  final void rex(int reg, Address rm, boolean wide) {
    int bits = (wide ? 8 : 0) | (reg >> 3) << 2 | rm.indexHigh() << 1 | rm.base().ordinal() >> 3;
    if (bits != 0) {
      emit(0x40 | bits);
    }
  }

  final void vex(int prefix, int map, int opcode, int reg, int x, int rm) {
    vexPrefix(prefix, map, reg, x, rm >> 3, 0, 0);
    emit(opcode, 0xC0 | (reg & 7) << 3 | rm & 7);
  }

  /** For masks with three operands, which count as 256 bits. */
  final void vexLong(int prefix, int map, int opcode, int reg, int x, int rm) {
    vexPrefix(prefix, map, reg, x, 0, 0, 1);
    emit(opcode, 0xC0 | reg << 3 | rm);
  }

  final void vex(int prefix, int map, int opcode, int reg, int x, Address rm) {
    vexPrefix(prefix, map, reg, x, rm.base().ordinal() >> 3, rm.indexHigh(), 0);
    emit(opcode);
    memory(reg, rm, 1);
  }

  /** Two or three bytes; the high bits of register numbers are in there inverted. */
  final void vexPrefix(int prefix, int map, int reg, int x, int rmHigh, int indexHigh, int length) {
    int r = (~reg >> 3 & 1) << 7;
    int last = (~x & 15) << 3 | length << 2 | prefix;
    if (map == MAP_0F && rmHigh == 0 && indexHigh == 0) {
      emit(0xC5, r | last);
    } else {
      emit(0xC4, r | (~indexHigh & 1) << 6 | (~rmHigh & 1) << 5 | map, last);
    }
  }

  final void evex(int prefix, int map, int opcode, int reg, int x, int rm) {
    evexPrefix(prefix, map, reg, x, rm >> 3 & 1, rm >> 4, false);
    emit(opcode, 0xC0 | (reg & 7) << 3 | rm & 7);
  }

  /**
   * With an operand in memory of which only elements are read or written whose bit in a mask is
   * set; what is not read is zero.
   */
  final void evexMasked(
      int prefix, int map, int opcode, int reg, int mask, Address rm, int unit, boolean read) {
    evexPrefix(prefix, map, reg, 0, rm.base().ordinal() >> 3, rm.indexHigh(), false);
    bytes[size - 1] |= (byte) ((read ? 0x80 : 0) | mask);
    emit(opcode);
    memory(reg, rm, unit);
  }

  /** Only where a bit of a mask is set; elsewhere zero, or what was there. */
  final void evexMasked(
      int prefix, int map, int opcode, int reg, int x, int rm, int mask, boolean zero) {
    evexPrefix(prefix, map, reg, x, rm >> 3 & 1, rm >> 4, false);
    bytes[size - 1] |= (byte) ((zero ? 0x80 : 0) | mask);
    emit(opcode, 0xC0 | (reg & 7) << 3 | rm & 7);
  }

  /**
   * With an operand in memory.
   *
   * @param unit the bytes that are read or written, which a displacement of one byte counts
   */
  final void evex(
      int prefix, int map, int opcode, int reg, int x, Address rm, int unit, boolean broadcast) {
    evexPrefix(prefix, map, reg, x, rm.base().ordinal() >> 3, rm.indexHigh(), broadcast);
    emit(opcode);
    memory(reg, rm, unit);
  }

  /** Four bytes; the high bits of register numbers are in there inverted. */
  final void evexPrefix(
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
  final void memory(int reg, Address rm, int unit) {
    int base = rm.base().ordinal() & 7;
    int displacement = rm.displacement();
    int units = displacement / unit;
    boolean small = displacement % unit == 0 && units == (byte) units;
    // base 5 without displacement would mean something else
    int mod = displacement == 0 && base != 5 ? 0 : small ? 1 : 2;
    boolean sib = rm.times() != 0 || base == 4;
    emit(mod << 6 | (reg & 7) << 3 | (sib ? 4 : base));
    if (sib) {
      int index = rm.times() == 0 ? 4 : rm.index().ordinal() & 7;
      emit(Integer.numberOfTrailingZeros(Math.max(1, rm.times())) << 6 | index << 3 | base);
    }
    if (mod == 1) {
      emit(units);
    } else if (mod == 2) {
      int32(displacement);
    }
  }

  final void int32(int value) {
    emit(value, value >> 8, value >> 16, value >> 24);
  }

  final void emit(int... values) {
    if (size + values.length > bytes.length) {
      bytes = Arrays.copyOf(bytes, 2 * bytes.length);
    }
    for (int value : values) {
      bytes[size++] = (byte) value;
    }
  }
}
