// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.machine;

import static io.sfumato.tensor.cpu.machine.Assembler.Address.at;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R10;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R11;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R12;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R13;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R8;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R9;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RAX;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RBP;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RBX;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RCX;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RDI;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RDX;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RSI;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RSP;

import io.sfumato.tensor.cpu.MatrixUnit;
import io.sfumato.tensor.cpu.machine.Assembler.Register;

/**
 * Machine code that rearranges numbers of 16 bits for a matrix unit, under the calling convention
 * of Unix. What the functions do is said in {@link io.sfumato.tensor.cpu.HalfUnit}; lanes are bits
 * here. All distances are in bytes.
 */
public final class HalfRowsCode extends BlockCode {
  private static final int SIDE = MatrixUnit.SIDE;
  private static final Register[] SAVED = {RBX, RBP, R12, R13};
  private static final int ARGUMENTS = 8 * (SAVED.length + 1);

  // Vectors of constants.
  private static final int HIGH_HALF = 31;
  private static final int ROUNDING = 30;

  private HalfRowsCode() {}

  /**
   * The function that copies rows.
   *
   * <pre>
   *   void rows(long blocks, long rows, long from, long step, long blockStep, long to, long toStep,
   *             long lanes)
   * </pre>
   */
  public static byte[] rows() {
    return new HalfRowsCode().writeRows();
  }

  private byte[] writeRows() {
    asm.enter(SAVED);
    asm.mov(R10, at(RSP, ARGUMENTS)); // toStep
    asm.mov(RAX, at(RSP, ARGUMENTS + 8));
    asm.kmovd(1, RAX);
    forRows(
        RCX,
        R8,
        R9,
        R10,
        () -> {
          asm.vmovdqu16Masked(0, 1, at(R12, 0));
          asm.vmovups(at(R13, 0), 0);
        });
    asm.vzeroupper();
    asm.leave(SAVED);
    return asm.code();
  }

  /**
   * The function that pairs rows.
   *
   * <pre>
   *   void pairs(long blocks, long rows, long from, long second, long step, long blockStep,
   *              long to, long toStep, long lanes, long secondLanes, long ahead)
   * </pre>
   */
  public static byte[] pairs() {
    return new HalfRowsCode().writePairs();
  }

  private byte[] writePairs() {
    asm.enter(SAVED);
    asm.mov(R10, at(RSP, ARGUMENTS)); // to
    asm.mov(R11, at(RSP, ARGUMENTS + 8)); // toStep
    mask(1, ARGUMENTS + 16);
    mask(2, ARGUMENTS + 24);
    asm.mov(RBP, at(RSP, ARGUMENTS + 32)); // ahead
    asm.mov(RAX, RBP);
    asm.add(RAX, RCX);
    forRows(
        R8,
        R9,
        R10,
        R11,
        () -> {
          asm.vpmovzxwdMasked(0, 1, at(R12, 0));
          asm.vpmovzxwdMasked(1, 2, at(R12, 1, RCX));
          asm.prefetcht1(at(R12, 1, RBP));
          asm.prefetcht1(at(R12, 1, RAX));
          asm.vpslld(1, 1, Short.SIZE);
          asm.vpord(0, 0, 1);
          asm.vmovups(at(R13, 0), 0);
        });
    asm.vzeroupper();
    asm.leave(SAVED);
    return asm.code();
  }

  /**
   * The function that splits rows of floats in two.
   *
   * <pre>
   *   void splitRows(long blocks, long rows, long from, long second, long step, long blockStep,
   *                  long to, long toStep, long part, long lanes, long secondLanes)
   * </pre>
   *
   * <p>The floats of a row are 16 at {@code from} and 16 {@code second} behind them.
   */
  public static byte[] splitRows() {
    return new HalfRowsCode().writeSplit(false);
  }

  /** The function that pairs rows of floats, split in two: the same arguments. */
  public static byte[] splitPairs() {
    return new HalfRowsCode().writeSplit(true);
  }

  private byte[] writeSplit(boolean pairs) {
    asm.enter(SAVED);
    asm.mov(R10, at(RSP, ARGUMENTS)); // to
    asm.mov(R11, at(RSP, ARGUMENTS + 8)); // toStep
    asm.mov(RBP, at(RSP, ARGUMENTS + 16)); // part
    mask(1, ARGUMENTS + 24);
    mask(2, ARGUMENTS + 32);
    asm.vpternlogd(HIGH_HALF, HIGH_HALF, HIGH_HALF, 0xFF);
    asm.vpsrld(ROUNDING, HIGH_HALF, 31);
    asm.vpslld(ROUNDING, ROUNDING, Short.SIZE - 1);
    asm.vpslld(HIGH_HALF, HIGH_HALF, Short.SIZE);
    forRows(
        R8,
        R9,
        R10,
        R11,
        () -> {
          asm.vmovupsMasked(0, 1, at(R12, 0));
          asm.vmovupsMasked(1, 2, at(R12, 1, RCX));
          for (int i = 0; i < 2; i++) { // rounded, halves away from zero; the rest goes on
            asm.vpaddd(2 + i, i, ROUNDING);
            asm.vpandd(2 + i, 2 + i, HIGH_HALF);
            asm.vsubps(i, i, 2 + i);
          }
          narrow(4, 2, pairs);
          narrow(5, 0, pairs);
          asm.vmovups(at(R13, 0), 4);
          asm.vmovups(at(R13, 1, RBP), 5);
        });
    asm.vzeroupper();
    asm.leave(SAVED);
    return asm.code();
  }

  /** Two vectors as bfloat16, one behind the other or in pairs. */
  private void narrow(int to, int x, boolean pairs) {
    if (!pairs) {
      asm.vcvtne2ps2bf16(to, x + 1, x);
      return;
    }
    for (int i = x; i < x + 2; i++) {
      asm.vcvtneps2bf16(i, i);
      asm.vpmovzxwd(i, i);
    }
    asm.vpslld(x + 1, x + 1, Short.SIZE);
    asm.vpord(to, x, x + 1);
  }

  /**
   * The function that transposes blocks of 16 rows of 16 pairs.
   *
   * <pre>
   *   void transpose(long blocks, long from, long step, long blockStep, long to, long toStep,
   *                  long lanes)
   * </pre>
   */
  public static byte[] transpose() {
    return new HalfRowsCode().writeTranspose();
  }

  private byte[] writeTranspose() {
    asm.mov(RAX, at(RSP, 8));
    asm.kmovd(1, RAX);
    int block = asm.here();
    asm.mov(R10, RSI);
    for (int i = 0; i < SIDE; i++) {
      asm.vmovdqu16Masked(i, 1, at(R10, 0));
      asm.add(R10, RDX);
    }
    // of a quarter: first two rows, then four side by side
    for (int i = 0; i < SIDE; i += 2) {
      asm.vpunpckldq(SIDE + i, i, i + 1);
      asm.vpunpckhdq(SIDE + i + 1, i, i + 1);
    }
    for (int i = 0; i < SIDE; i += 4) {
      int x = SIDE + i;
      asm.vpunpcklqdq(i, x, x + 2);
      asm.vpunpckhqdq(i + 1, x, x + 2);
      asm.vpunpcklqdq(i + 2, x + 1, x + 3);
      asm.vpunpckhqdq(i + 3, x + 1, x + 3);
    }
    // vector 4 g + c has columns c, c + 4, c + 8, c + 12 of rows 4 g to 4 g + 3, a quarter each
    for (int c = 0; c < 4; c++) {
      asm.vshuff32x4(SIDE + c, c, 4 + c, 0x88);
      asm.vshuff32x4(SIDE + 4 + c, c, 4 + c, 0xDD);
      asm.vshuff32x4(SIDE + 8 + c, 8 + c, 12 + c, 0x88);
      asm.vshuff32x4(SIDE + 12 + c, 8 + c, 12 + c, 0xDD);
    }
    for (int c = 0; c < 4; c++) {
      asm.vshuff32x4(c, SIDE + c, SIDE + 8 + c, 0x88);
      asm.vshuff32x4(8 + c, SIDE + c, SIDE + 8 + c, 0xDD);
      asm.vshuff32x4(4 + c, SIDE + 4 + c, SIDE + 12 + c, 0x88);
      asm.vshuff32x4(12 + c, SIDE + 4 + c, SIDE + 12 + c, 0xDD);
    }
    for (int i = 0; i < SIDE; i++) {
      asm.vmovups(at(R8, i * ROW), i);
    }
    asm.add(RSI, RCX);
    asm.add(R8, R9);
    asm.sub(RDI, 1);
    asm.jnzBack(block);
    asm.vzeroupper();
    asm.ret();
    return asm.code();
  }
}
