// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.machine;

import static io.sfumato.tensor.cpu.machine.Assembler.Address.at;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R12;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R13;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RAX;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RBX;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RDI;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RDX;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RSI;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RSP;

import io.sfumato.tensor.cpu.MatrixUnit;
import io.sfumato.tensor.cpu.machine.Assembler.Register;

/**
 * What functions that write blocks of rows for a matrix unit have in common. Their first arguments
 * are the number of blocks (RDI), the rows of each (RSI) and where they lie (RDX).
 */
abstract class BlockCode {
  static final int ROW = MatrixUnit.ROW_BYTES;

  final Assembler asm = new Assembler();

  /** Sets a mask of up to 16 bits from an argument on the stack. */
  final void mask(int mask, int argument) {
    asm.mov(RAX, at(RSP, argument));
    asm.kmovw(mask, RAX);
  }

  /**
   * Writes the loops over blocks and rows.
   *
   * @param step from one row to the next
   * @param blockStep from one block to the next
   * @param to address of the first block of the result; changes
   * @param toStep from there to the next
   * @param body writes what is done with a row, which lies at R12 and whose result lies at R13
   */
  final void forRows(
      Register step, Register blockStep, Register to, Register toStep, Runnable body) {
    int block = asm.here();
    asm.mov(RBX, RSI);
    asm.mov(R12, RDX);
    asm.mov(R13, to);
    int row = asm.here();
    body.run();
    asm.add(R12, step);
    asm.add(R13, ROW);
    asm.sub(RBX, 1);
    asm.jnzBack(row);
    asm.add(RDX, blockStep);
    asm.add(to, toStep);
    asm.sub(RDI, 1);
    asm.jnzBack(block);
  }
}
