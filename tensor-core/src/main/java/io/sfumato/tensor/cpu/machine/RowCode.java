// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.machine;

import static io.sfumato.tensor.cpu.machine.Assembler.Address.at;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R12;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R13;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R14;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R15;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RAX;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RBP;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RBX;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RSP;

import io.sfumato.tensor.cpu.machine.Assembler.Address;
import io.sfumato.tensor.cpu.machine.Assembler.Register;
import java.util.function.IntConsumer;

/** What functions that go through a few rows at a time have in common. */
abstract class RowCode {
  static final Register[] SAVED = {RBX, RBP, R12, R13, R14, R15};
  private static final int ARGUMENTS = 8 * (SAVED.length + 1);

  /** The bytes of a row that whole vectors cover, and a bit for each lane of the last one. */
  private static final Address WHOLE = argument(2);

  private static final Address REST = argument(3);

  /** Four vectors for use in between. */
  static final int T = 18;

  /** The mask of the lanes of a partial vector. */
  static final int LANES = 1;

  final Assembler asm = new Assembler();
  private final int rows;

  /**
   * Code for a group of rows.
   *
   * @param rows how many
   */
  RowCode(int rows) {
    this.rows = rows;
  }

  /** The arguments from the seventh on, which lie on the stack. */
  static Address argument(int i) {
    return at(RSP, ARGUMENTS + 8 * i);
  }

  /** Prepares {@link #forColumns}. */
  final void columns() {
    asm.mov(RBP, WHOLE);
    asm.mov(RAX, REST);
    asm.kmovw(LANES, RAX);
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

  /**
   * A loop over the columns of a group of rows, at {@code RAX} bytes.
   *
   * @param vector what is done with a vector of each row
   * @param partial what is done with the last, partial one
   * @param before before the vectors of the rows
   * @param beforePartial before the partial ones
   */
  final void forColumns(
      IntConsumer vector, IntConsumer partial, Runnable before, Runnable beforePartial) {
    asm.sub(RAX, RAX);
    asm.test(RBP);
    int none = asm.jzForward();
    int next = asm.here();
    before.run();
    for (int r = 0; r < rows; r++) {
      vector.accept(r);
    }
    asm.add(RAX, Encoder.VECTOR_BYTES);
    asm.cmp(RAX, RBP);
    asm.jnzBack(next);
    asm.land(none);
    asm.mov(R15, REST);
    asm.test(R15);
    int even = asm.jzForward();
    beforePartial.run();
    for (int r = 0; r < rows; r++) {
      partial.accept(r);
    }
    asm.land(even);
  }
}
