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

import io.sfumato.tensor.cpu.machine.Assembler.Address;
import io.sfumato.tensor.cpu.machine.Assembler.Register;

/**
 * Machine code for matrix products on the matrix unit of Intel processors (AMX, bfloat16), under
 * the calling convention of Unix. What the functions compute and how their operands lie is said in
 * {@link io.sfumato.tensor.cpu.MatrixUnit}. All distances are in bytes.
 */
public final class MatrixUnitCode {
  private static final int TILE = 1024;
  private static final int ROW = 64;
  private static final int ROWS = 16;
  private static final int PARTS = 3;
  private static final int HEADER = 64;

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

  // Tiles.
  private static final int SUM = 0;
  private static final int LEFT = 1;
  private static final int RIGHT = 2;

  /** The parts of A and B to multiply; from each pair to the next only one of them changes. */
  private static final int[][] PRODUCTS = {{0, 2}, {0, 1}, {1, 1}, {1, 0}, {2, 0}, {0, 0}};

  private static final int[] NONE = {-1, -1};

  private final Assembler asm = new Assembler();

  private MatrixUnitCode() {}

  /**
   * {@code long cpuid(long leaf)}: EDX of that leaf, subleaf 0.
   *
   * <p>Leaf 7 has bit 22 for AMX with bfloat16 and bit 24 for AMX.
   */
  public static byte[] cpuid() {
    Assembler asm = new Assembler();
    asm.push(RBX);
    asm.mov(RAX, RDI);
    asm.sub(RCX, RCX);
    asm.cpuid();
    asm.mov(RAX, RDX);
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
   *              long to, long toStep, long lanes, long secondLanes)
   * </pre>
   *
   * <p>For each block and row it reads 16 floats at {@code from} and 16 at {@code from + second},
   * of both only the lanes whose bit is set, and writes three vectors of pairs, one to each part.
   * The answer is not zero if a value has no three parts.
   */
  public static byte[] split() {
    return new MatrixUnitCode().writeSplit();
  }

  private byte[] writeSplit() {
    save();
    asm.mov(R10, at(RSP, ARGUMENTS)); // to
    asm.mov(R11, at(RSP, ARGUMENTS + 8)); // toStep
    asm.mov(RAX, at(RSP, ARGUMENTS + 16));
    asm.kmovw(1, RAX);
    asm.mov(RAX, at(RSP, ARGUMENTS + 24));
    asm.kmovw(2, RAX);
    asm.vpternlogd(ONES, ONES, ONES, 0xFF);
    asm.vpsrld(MAGNITUDE, ONES, 1);
    asm.vpslld(HIGH_HALF, ONES, 16);
    asm.vpsrld(ROUNDING, ONES, 31);
    asm.vpslld(ROUNDING, ROUNDING, 15);
    asm.vpternlogd(LEAST, LEAST, LEAST, 0xFF);
    asm.vpxord(MOST, MOST, MOST);
    int block = asm.here();
    asm.mov(RBX, RSI);
    asm.mov(R12, RDX);
    asm.mov(R13, R10);
    int row = asm.here();
    asm.vmovupsMasked(0, 1, at(R12, 0));
    asm.vmovupsMasked(1, 2, at(R12, 1, RCX));
    for (int i = 0; i <= 1; i++) {
      asm.vpandd(2 + i, i, MAGNITUDE);
      asm.vpmaxud(MOST, MOST, 2 + i);
      asm.vpaddd(2 + i, 2 + i, ONES);
      asm.vpminud(LEAST, LEAST, 2 + i);
    }
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
      }
      asm.vpsrld(4 + part, x, 16);
      asm.vpord(4 + part, 4 + part, y);
      asm.vmovups(at(R13, part * TILE), 4 + part);
    }
    asm.add(R12, R8);
    asm.add(R13, ROW);
    asm.sub(RBX, 1);
    asm.jnzBack(row);
    asm.add(RDX, R9);
    asm.add(R10, R11);
    asm.sub(RDI, 1);
    asm.jnzBack(block);
    asm.mov(RAX, LEAST_FIT - 1);
    asm.vpbroadcastd(0, RAX);
    asm.vpcmpltud(1, LEAST, 0);
    asm.mov(RAX, MOST_FIT);
    asm.vpbroadcastd(0, RAX);
    asm.vpcmpltud(2, 0, MOST);
    asm.korw(1, 1, 2);
    asm.kmovw(RAX, 1);
    asm.vzeroupper();
    restore();
    return asm.code();
  }

  /**
   * The function that multiplies.
   *
   * <pre>
   *   void multiply(long slabs, long steps, long a, long b, long c, long rowC,
   *                 long d, long rowD, long panels, long panelBytes, long configuration)
   * </pre>
   *
   * <p>Slabs of A lie one after the other, each with a header before it; the address of the first
   * one is behind its header. D is 0 or what is added to. The configuration of tiles is that of
   * eight whole ones.
   *
   * <p>Only three tiles are in use. More would save loads, but the processor has tile registers for
   * little more than twice eight: while a core's other thread runs, a thread that uses all its
   * eight has none to rename to, and its instructions wait for one another.
   */
  public static byte[] multiply() {
    return new MatrixUnitCode().writeMultiply();
  }

  private byte[] writeMultiply() {
    save();
    asm.push(RDI);
    asm.push(RDX);
    asm.push(R8);
    Address slabs = at(RSP, 16);
    Address a = at(RSP, 8);
    Address c = at(RSP, 0);
    int arguments = ARGUMENTS + 24;
    Address d = at(RSP, arguments);
    Address panels = at(RSP, arguments + 16);
    Address panelBytes = at(RSP, arguments + 24);
    asm.mov(RAX, at(RSP, arguments + 32));
    asm.ldtilecfg(at(RAX, 0));
    asm.mov(RAX, ROW);
    asm.mov(R13, at(RSP, arguments + 8)); // rowD
    asm.mov(R14, R9);
    asm.shl(R14, 4); // sixteen rows
    asm.mov(R15, R13);
    asm.shl(R15, 4);
    int panel = asm.here();
    asm.mov(RDI, slabs);
    asm.mov(RDX, a);
    asm.mov(R8, c);
    asm.mov(R12, d);
    int slab = asm.here();
    slab();
    asm.sub(RDI, 1);
    asm.jnzBack(slab);
    asm.mov(RBP, panelBytes);
    asm.add(RCX, RBP);
    asm.mov(RBP, c);
    asm.add(RBP, ROW);
    asm.mov(c, RBP);
    asm.mov(RBP, d);
    asm.test(RBP);
    int nothing = asm.jzForward();
    asm.add(RBP, ROW);
    asm.mov(d, RBP);
    asm.land(nothing);
    asm.mov(RBP, panels);
    asm.sub(RBP, 1);
    asm.mov(panels, RBP);
    asm.jnzBack(panel);
    asm.tilerelease();
    asm.add(RSP, 24);
    restore();
    return asm.code();
  }

  /** A tile of C. */
  private void slab() {
    asm.tilezero(SUM);
    asm.test(R12);
    int nothing = asm.jzForward();
    asm.tileloadd(SUM, at(R12, 1, R13));
    asm.add(R12, R15);
    asm.land(nothing);
    prefetchNext();
    asm.mov(R10, RCX);
    asm.mov(R11, RSI);
    int step = asm.here();
    for (int i = 0; i < PRODUCTS.length; i++) {
      int[] product = PRODUCTS[i];
      int[] before = i > 0 ? PRODUCTS[i - 1] : NONE;
      if (product[0] != before[0]) {
        asm.tileloadd(LEFT, at(RDX, 1, RAX).plus(product[0] * TILE));
      }
      if (product[1] != before[1]) {
        asm.tileloadd(RIGHT, at(R10, 1, RAX).plus(product[1] * TILE));
      }
      asm.tdpbf16ps(SUM, LEFT, RIGHT);
    }
    asm.add(RDX, PARTS * TILE);
    asm.add(R10, PARTS * TILE);
    asm.sub(R11, 1);
    asm.jnzBack(step);
    asm.tilestored(at(R8, 1, R9), SUM);
    asm.add(R8, R14);
    asm.add(RDX, HEADER);
  }

  /** Asks for the C of the slab after this one. */
  private void prefetchNext() {
    asm.mov(RBX, R8);
    asm.add(RBX, R14);
    for (int r = 0; r < ROWS; r++) {
      asm.prefetcht0(at(RBX, 0));
      asm.add(RBX, R9);
    }
  }

  private void save() {
    for (Register register : SAVED) {
      asm.push(register);
    }
  }

  private void restore() {
    for (int i = SAVED.length - 1; i >= 0; i--) {
      asm.pop(SAVED[i]);
    }
    asm.ret();
  }
}
