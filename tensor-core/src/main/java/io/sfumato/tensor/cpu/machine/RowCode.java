// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.machine;

import static io.sfumato.tensor.cpu.machine.Assembler.Address.at;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R12;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R13;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R14;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R15;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RBP;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RBX;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RSP;

import io.sfumato.tensor.cpu.machine.Assembler.Address;
import io.sfumato.tensor.cpu.machine.Assembler.Register;

/** What functions that go through a few rows at a time have in common. */
abstract class RowCode extends PassCode {
  static final Register[] SAVED = {RBX, RBP, R12, R13, R14, R15};
  private static final int ARGUMENTS = 8 * (SAVED.length + 1);

  /** The bytes of a row that whole vectors cover, and a bit for each lane of the last one. */
  private static final Address WHOLE = argument(2);

  private static final Address REST = argument(3);

  static final Address MEAN = argument(0);
  static final Address RSTD = argument(1);

  /** Two vectors below the stack, where nobody writes while a function runs that calls none. */
  static final Address SPARE = at(RSP, -64);

  static final Address SECOND_SPARE = at(RSP, -128);

  /** Four vectors for use in between. */
  static final int T = 18;

  /** The arguments from the seventh on, which lie on the stack. */
  static Address argument(int i) {
    return at(RSP, ARGUMENTS + 8 * i);
  }

  /**
   * To the first vector, four lanes for each of four rows: the sum of every fourth lane of its
   * vector, from the lowest on.
   */
  final void quarters(int v) {
    asm.vshuff32x4(T, v, v + 1, 0x44);
    asm.vshuff32x4(T + 1, v, v + 1, 0xEE);
    asm.vshuff32x4(T + 2, v + 2, v + 3, 0x44);
    asm.vshuff32x4(T + 3, v + 2, v + 3, 0xEE);
    asm.vshuff32x4(v, T, T + 2, 0x88);
    asm.vshuff32x4(v + 1, T, T + 2, 0xDD);
    asm.vshuff32x4(v + 2, T + 1, T + 3, 0x88);
    asm.vshuff32x4(v + 3, T + 1, T + 3, 0xDD);
    for (int i = 1; i < 4; i++) {
      asm.vaddps(v, v, v + i);
    }
  }

  /** The sum of each row's four lanes in double, twice: in pairs of lanes, row by row. */
  final void total(int v) {
    doubles(v);
    for (int half = v; half <= v + 1; half++) {
      asm.vpermilpdSwap(T, half);
      asm.vaddpd(half, half, T);
      asm.vpermpdSwap(T, half);
      asm.vaddpd(half, half, T);
    }
    together(v);
  }

  /** Floats as doubles, to two vectors. */
  final void doubles(int v) {
    asm.vextractUpper(v + 1, v);
    asm.vcvtps2pd(v, v);
    asm.vcvtps2pd(v + 1, v + 1);
  }

  /** Of each row, half of its lanes. */
  final void together(int v) {
    asm.vshuff64x2(v, v, v + 1, 0x88);
  }

  /** {@link #forVectors} over the columns of the rows; changes {@code R15} and {@code RBP}. */
  final void forColumns(Runnable vector) {
    asm.mov(RBP, WHOLE);
    asm.mov(R15, REST);
    forVectors(RBP, R15, vector);
  }
}
