// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.machine;

import static io.sfumato.tensor.cpu.machine.Assembler.Address.at;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R10;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R11;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R12;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R13;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R14;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R15;
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
import io.sfumato.tensor.cpu.machine.Assembler.Address;
import io.sfumato.tensor.cpu.machine.Assembler.Register;

/**
 * Machine code that splits operands for the matrix unit of Intel processors (AMX, bfloat16), and
 * that asks for the unit, under the calling convention of Unix. What the functions compute and how
 * their operands lie is said in {@link MatrixUnit}; {@link ProductCode} multiplies them. All
 * distances are in bytes.
 */
public final class MatrixUnitCode extends BlockCode {
  private static final int PARTS = MatrixUnit.BLOCK_BYTES / MatrixUnit.TILE_BYTES;

  private static final Register[] SAVED = {RBX, RBP, R12, R13, R14, R15};
  private static final int ARGUMENTS = 8 * (SAVED.length + 1);

  // The bits of 2^-103, and of the last float before 2^127: what has three parts is zero or between
  // them.
  private static final int LEAST_FIT = 24 << 23;
  private static final int MOST_FIT = (254 << 23) - 1;

  // Vectors of constants, and of the least magnitude (less one, so that zero is above all) and the
  // largest one.
  private static final int ONES = 31;
  private static final int MAGNITUDE = 30;
  private static final int HIGH_HALF = 29;
  private static final int ROUNDING = 28;
  private static final int LEAST = 27;
  private static final int MOST = 26;

  // Those of the exponential: its constants, four of them in a row, the row's shift and sum.
  private static final int LOG2_E = 27;
  private static final int ROUNDER = 26;
  private static final int MINUS_LN2 = 25;
  private static final int S3 = 20;
  private static final int ONE = 19;
  private static final int LOWEST = 18;
  private static final int SHIFT = 17;
  private static final int TOTAL = 16;

  private MatrixUnitCode() {}

  /**
   * {@code long cpuid(long leaf, long subleaf)}: EAX of that leaf, and above it EDX.
   *
   * <p>Leaf 7 has bit 22 of EDX for AMX with bfloat16 and bit 24 for AMX; its subleaf 1 has bit 5
   * of EAX for AVX-512 with bfloat16.
   */
  public static byte[] cpuid() {
    Assembler asm = new Assembler();
    asm.push(RBX);
    asm.mov(RAX, RDI);
    asm.mov(RCX, RSI);
    asm.cpuid();
    asm.shl(RDX, Integer.SIZE);
    asm.add(RAX, RDX);
    asm.pop(RBX);
    asm.ret();
    return asm.code();
  }

  /** {@code long call(long number, long x, long y)}: a call of the system with two arguments. */
  public static byte[] systemCall() {
    Assembler asm = new Assembler();
    asm.mov(RAX, RDI);
    asm.mov(RDI, RSI);
    asm.mov(RSI, RDX);
    asm.syscall();
    asm.ret();
    return asm.code();
  }

  /**
   * The function that splits floats into three parts of bfloat16.
   *
   * <pre>
   *   long split(long blocks, long rows, long from, long second, long step, long blockStep,
   *              long to, long toStep, long part, long lanes, long secondLanes, long ahead)
   * </pre>
   *
   * <p>For each block and row it reads 16 floats at {@code from} and 16 at {@code from + second},
   * of both only the lanes whose bit is set, and writes three vectors of pairs, one to each part.
   * The cache lines {@code ahead} of both are asked for. The answer is not zero if a value has no
   * three parts.
   */
  public static byte[] split() {
    return new MatrixUnitCode().writeSplit();
  }

  private byte[] writeSplit() {
    asm.enter(SAVED);
    asm.mov(R10, at(RSP, ARGUMENTS)); // to
    asm.mov(R11, at(RSP, ARGUMENTS + 8)); // toStep
    asm.mov(RBP, at(RSP, ARGUMENTS + 16)); // part
    mask(1, ARGUMENTS + 24);
    mask(2, ARGUMENTS + 32);
    asm.mov(R14, at(RSP, ARGUMENTS + 40)); // ahead
    asm.mov(R15, R14);
    asm.add(R15, RCX);
    splitConstants();
    asm.vpsrld(MAGNITUDE, ONES, 1);
    asm.vpternlogd(LEAST, LEAST, LEAST, 0xFF);
    asm.vpxord(MOST, MOST, MOST);
    forRows(
        R8,
        R9,
        R10,
        R11,
        () -> {
          asm.vmovupsMasked(0, 1, at(R12, 0));
          asm.vmovupsMasked(1, 2, at(R12, 1, RCX));
          asm.prefetcht1(at(R12, 1, R14));
          asm.prefetcht1(at(R12, 1, R15));
          for (int i = 0; i <= 1; i++) {
            asm.vpandd(2 + i, i, MAGNITUDE);
            asm.vpmaxud(MOST, MOST, 2 + i);
            asm.vpaddd(2 + i, 2 + i, ONES);
            asm.vpminud(LEAST, LEAST, 2 + i);
          }
          parts(at(R13, 0), at(R13, 1, RBP), at(R13, 2, RBP));
        });
    asm.mov(RAX, LEAST_FIT - 1);
    asm.vpbroadcastd(0, RAX);
    asm.vpcmpltud(1, LEAST, 0);
    asm.mov(RAX, MOST_FIT);
    asm.vpbroadcastd(0, RAX);
    asm.vpcmpltud(2, 0, MOST);
    asm.korw(1, 1, 2);
    asm.kmovw(RAX, 1);
    asm.vzeroupper();
    asm.leave(SAVED);
    return asm.code();
  }

  /**
   * The function that splits exponentials.
   *
   * <pre>
   *   void exponentials(long blocks, long rows, long from, long step, long shifts, long sums,
   *                     long to, long lanes, long secondLanes)
   * </pre>
   *
   * <p>Lanes are bits here.
   */
  public static byte[] exponentials() {
    return new MatrixUnitCode().writeExponentials(false);
  }

  /**
   * The function that rounds exponentials to bfloat16, neighbours in pairs: the same arguments, and
   * tiles of one part.
   */
  public static byte[] halfExponentials() {
    return new MatrixUnitCode().writeExponentials(true);
  }

  private byte[] writeExponentials(boolean half) {
    asm.enter(SAVED);
    asm.mov(R10, at(RSP, ARGUMENTS)); // to
    mask(1, ARGUMENTS + 8);
    mask(2, ARGUMENTS + 16);
    splitConstants();
    constant(LOG2_E, ShortExp.LOG2_E);
    constant(ROUNDER, ShortExp.ROUNDER);
    constant(MINUS_LN2, -ShortExp.LN2);
    constant(S3, ShortExp.S3);
    constant(S3 + 1, ShortExp.S2);
    constant(S3 + 2, ShortExp.S1);
    constant(S3 + 3, ShortExp.S0);
    constant(ONE, 1f);
    constant(LOWEST, ShortExp.LOWEST);
    int row = asm.here();
    asm.vbroadcastss(SHIFT, at(R8, 0));
    asm.vmovups(TOTAL, at(R9, 0));
    asm.mov(RBX, RDI);
    asm.mov(R12, RDX);
    asm.mov(R13, R10);
    int block = asm.here();
    asm.vmovupsMasked(0, 1, at(R12, 0));
    asm.vmovupsMasked(1, 2, at(R12, ROW));
    for (int i = 0; i <= 1; i++) {
      exponential(i, 1 + i);
    }
    if (half) {
      asm.vcvtne2ps2bf16(4, 1, 0);
      asm.vmovups(at(R13, 0), 4);
    } else {
      parts(at(R13, 0), at(R13, MatrixUnit.TILE_BYTES), at(R13, 2 * MatrixUnit.TILE_BYTES));
    }
    asm.add(R12, 2 * ROW);
    asm.add(R13, half ? MatrixUnit.TILE_BYTES : MatrixUnit.BLOCK_BYTES);
    asm.sub(RBX, 1);
    asm.jnzBack(block);
    asm.vmovups(at(R9, 0), TOTAL);
    asm.add(R8, Float.BYTES);
    asm.add(R9, ROW);
    asm.add(RDX, RCX);
    asm.add(R10, ROW);
    asm.sub(RSI, 1);
    asm.jnzBack(row);
    asm.vzeroupper();
    asm.leave(SAVED);
    return asm.code();
  }

  /** Vector v as {@code e^(v - shift)} where the mask is set, else 0; added to the total. */
  private void exponential(int v, int mask) {
    int z = 8 + 3 * v;
    int r = 9 + 3 * v;
    int nonzero = 3 + v;
    asm.vsubps(r, v, SHIFT);
    asm.vpord(z, ROUNDER, ROUNDER);
    asm.vfmadd231ps(z, r, LOG2_E);
    asm.vcmpnltpsMasked(nonzero, mask, r, LOWEST);
    asm.vsubps(v, z, ROUNDER);
    asm.vfmadd231ps(r, v, MINUS_LN2);
    asm.vpord(v, S3, S3);
    for (int i = 1; i <= 3; i++) {
      asm.vfmadd213ps(v, r, S3 + i);
    }
    asm.vfmadd213ps(v, r, ONE);
    asm.vfmadd213ps(v, r, ONE);
    asm.vpslld(z, z, 23);
    asm.vpaddd(z, z, ONE); // the bits of 1
    asm.vmulpsMasked(v, nonzero, v, z);
    asm.vfmadd231ps(TOTAL, v, ONE);
  }

  private void splitConstants() {
    asm.vpternlogd(ONES, ONES, ONES, 0xFF);
    asm.vpslld(HIGH_HALF, ONES, 16);
    asm.vpsrld(ROUNDING, ONES, 31);
    asm.vpslld(ROUNDING, ROUNDING, 15);
  }

  private void constant(int vector, float value) {
    asm.mov(RAX, Float.floatToRawIntBits(value));
    asm.vpbroadcastd(vector, RAX);
  }

  /** Vectors 0 and 1 in parts, each a vector of pairs that goes to memory. */
  private void parts(Address first, Address second, Address third) {
    Address[] to = {first, second, third};
    for (int part = 0; part < PARTS; part++) {
      int x = 0;
      int y = 1;
      if (part < PARTS - 1) { // rounded to bfloat16, halves away from zero; the rest goes on
        x = 2;
        y = 3;
        asm.vpaddd(x, 0, ROUNDING);
        asm.vpaddd(y, 1, ROUNDING);
        asm.vpandd(x, x, HIGH_HALF);
        asm.vpandd(y, y, HIGH_HALF);
        asm.vsubps(0, 0, x);
        asm.vsubps(1, 1, y);
      } else { // what is left of a value without three parts must stay out of the other half
        asm.vpandd(y, y, HIGH_HALF);
      }
      asm.vpsrld(4 + part, x, 16);
      asm.vpord(4 + part, 4 + part, y);
      asm.vmovups(to[part], 4 + part);
    }
  }
}
