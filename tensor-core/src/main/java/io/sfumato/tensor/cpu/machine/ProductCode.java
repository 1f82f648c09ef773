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
 * Machine code for products on the matrix unit of Intel processors (AMX, bfloat16), of floats in
 * three parts and of bfloat16 as it is, under the calling convention of Unix. How operands lie is
 * said in {@link MatrixUnit}. All distances are in bytes.
 *
 * <p>Only four tiles are in use. More would save loads, but the processor has tile registers for
 * little more than twice eight: while a core's other thread runs, a thread that uses all its eight
 * has none to rename to, and its instructions wait for one another.
 */
public final class ProductCode {
  private static final int ROW = MatrixUnit.ROW_BYTES;
  private static final int ENTRY = MatrixUnit.ENTRY_BYTES;
  private static final int ADD = (int) MatrixUnit.ADD;
  private static final Register[] SAVED = {RBX, RBP, R12, R13, R14, R15};
  private static final int LOCALS = 32;
  private static final int ARGUMENTS = 8 * (SAVED.length + 1) + LOCALS;

  // Tiles. Sums are the first ones.
  private static final int FIRST = 1; // part of A
  private static final int LEFT = 2;
  private static final int RIGHT = 3;

  private static final Address SLABS = at(RSP, 24);
  private static final Address SLAB_TABLE = at(RSP, 16);
  private static final Address STEP_TABLE = at(RSP, 8);
  private static final Address COLUMN = at(RSP, 0);

  private final Assembler asm = new Assembler();
  private final boolean split;
  private final Address panels;
  private final Address panelBytes;
  private final Address start;
  private final Address rowC;
  private final Address configuration;

  private ProductCode(boolean split) {
    this.split = split;
    int more = ARGUMENTS + (split ? 16 : 0);
    panels = at(RSP, more);
    panelBytes = at(RSP, more + 8);
    start = at(RSP, more + 16);
    rowC = at(RSP, more + 24);
    configuration = at(RSP, more + 32);
  }

  /**
   * The function that multiplies floats in three parts.
   *
   * <pre>
   *   void multiply(long slabs, long stepsEnd, long slabTable, long stepTable, long b, long rowA,
   *                 long partA, long partB, long panels, long panelBytes, long start, long rowC,
   *                 long configuration)
   * </pre>
   *
   * <p>The table of steps ends at {@code stepsEnd}. The configuration of tiles is that of eight
   * whole ones.
   */
  public static byte[] parts() {
    return new ProductCode(true).write();
  }

  /** The function that multiplies bfloat16: the same without {@code partA} and {@code partB}. */
  public static byte[] halves() {
    return new ProductCode(false).write();
  }

  private byte[] write() {
    asm.enter(SAVED);
    asm.push(RDI);
    asm.push(RDX);
    asm.push(RCX);
    asm.sub(R10, R10);
    asm.push(R10);
    if (split) {
      asm.mov(RBX, at(RSP, ARGUMENTS)); // partA
      asm.mov(R11, at(RSP, ARGUMENTS + 8)); // partB
    } else {
      asm.mov(R11, panelBytes);
    }
    asm.mov(R14, rowC);
    asm.mov(RAX, configuration);
    asm.ldtilecfg(at(RAX, 0));
    asm.mov(RAX, ROW);
    if (split) {
      int panel = asm.here();
      panel(1);
      asm.jnzBack(panel);
    } else { // two panels at a time, as long as there are two
      int panel = asm.here();
      asm.mov(R10, panels);
      asm.sub(R10, 1);
      int single = asm.jzForward();
      panel(2);
      asm.jnzBack(panel);
      int end = asm.jmpForward();
      asm.land(single);
      panel(1);
      asm.land(end);
    }
    asm.tilerelease();
    asm.add(RSP, LOCALS);
    asm.leave(SAVED);
    return asm.code();
  }

  /** All slabs by one panel, or by some side by side; then zero if none is left. */
  private void panel(int width) {
    asm.mov(RDI, SLABS);
    asm.mov(RDX, SLAB_TABLE);
    asm.mov(RBP, R8);
    for (int i = 0; i < width; i++) {
      asm.mov(R10, panelBytes);
      asm.add(RBP, R10);
    }
    int slab = asm.here();
    slab(width);
    asm.sub(RDI, 1);
    asm.jnzBack(slab);
    for (int i = 0; i < width; i++) {
      asm.mov(R10, panelBytes);
      asm.add(R8, R10);
    }
    asm.mov(R10, COLUMN);
    asm.add(R10, width * ROW);
    asm.mov(COLUMN, R10);
    asm.mov(R10, panels);
    asm.sub(R10, width);
    asm.mov(panels, R10);
  }

  /** A tile of C, or some side by side: R12 is where its A begins, R13 where it lies. */
  private void slab(int width) {
    asm.mov(R12, at(RDX, 0));
    asm.mov(R13, at(RDX, 8));
    asm.mov(R10, COLUMN);
    asm.add(R13, R10);
    for (int i = 0; i < width; i++) {
      asm.tilezero(i);
    }
    asm.mov(R15, start);
    asm.test(R15);
    int nothing = asm.jzForward();
    asm.sub(R15, ADD);
    int addition = asm.jzForward();
    asm.add(R15, ADD);
    asm.add(R15, R10);
    asm.sub(R10, R10);
    for (int i = 0; i < width; i++) {
      asm.tileloadd(i, at(R15, 1, R10).plus(i * ROW));
    }
    int bias = asm.jmpForward();
    asm.land(addition);
    for (int i = 0; i < width; i++) {
      asm.tileloadd(i, at(R13, 1, R14).plus(i * ROW));
    }
    asm.land(nothing);
    asm.land(bias);
    prefetchNext(width);
    asm.mov(RCX, STEP_TABLE);
    int step = asm.here();
    asm.mov(R15, at(RCX, 0));
    asm.add(R15, R12);
    asm.mov(R10, at(RCX, 8));
    asm.add(R10, R8);
    if (split) {
      sixProducts();
    } else {
      products(width);
    }
    int lines = split ? 3 : width; // of the next panel
    for (int i = 0; i < lines; i++) {
      asm.prefetcht1(at(RBP, i * ROW));
    }
    asm.add(RBP, lines * ROW);
    asm.add(RCX, ENTRY);
    asm.cmp(RCX, RSI);
    asm.jnzBack(step);
    for (int i = 0; i < width; i++) {
      asm.tilestored(at(R13, 1, R14).plus(i * ROW), i);
    }
    asm.add(RDX, ENTRY);
  }

  /** A block of A at R15, one of B at R10. */
  private void products(int width) {
    load(LEFT, R15, R9);
    for (int i = 0; i < width; i++) {
      if (i > 0) {
        asm.add(R10, R11);
      }
      load(RIGHT, R10, RAX);
      asm.tdpbf16ps(i, LEFT, RIGHT);
    }
  }

  /** A block of A in parts at R15, one of B at R10. */
  private void sixProducts() {
    asm.lea(R10, at(R10, 2, R11));
    load(FIRST, R15, R9);
    load(RIGHT, R10, RAX);
    asm.tdpbf16ps(0, FIRST, RIGHT);
    asm.sub(R10, R11);
    load(RIGHT, R10, RAX);
    asm.tdpbf16ps(0, FIRST, RIGHT);
    asm.add(R15, RBX);
    load(LEFT, R15, R9);
    asm.tdpbf16ps(0, LEFT, RIGHT);
    asm.sub(R10, R11);
    load(RIGHT, R10, RAX);
    asm.tdpbf16ps(0, LEFT, RIGHT);
    asm.add(R15, RBX);
    load(LEFT, R15, R9);
    asm.tdpbf16ps(0, LEFT, RIGHT);
    asm.tdpbf16ps(0, FIRST, RIGHT);
  }

  private void load(int tile, Register from, Register row) {
    asm.tileloadd(tile, at(from, 1, row));
  }

  /** Asks for the C of the slab after this one. */
  private void prefetchNext(int width) {
    asm.mov(R15, at(RDX, ENTRY + 8));
    asm.mov(R10, COLUMN);
    asm.add(R15, R10);
    for (int r = 0; r < MatrixUnit.SIDE; r++) {
      for (int i = 0; i < width; i++) {
        asm.prefetcht0(at(R15, i * ROW));
      }
      asm.add(R15, R14);
    }
  }
}
