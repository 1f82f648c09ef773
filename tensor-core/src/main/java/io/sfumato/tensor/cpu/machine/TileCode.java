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

import io.sfumato.tensor.cpu.machine.Assembler.Address;
import io.sfumato.tensor.cpu.machine.Assembler.Register;

/**
 * Machine code for one tile of a matrix product, on x86-64 with AVX-512 under the calling
 * convention of Unix:
 *
 * <pre>
 *   void tile(long k, long a, long rowA, long columnA, long b, long rowB,
 *             long d, long rowD, long c, long rowC)
 *   C[r, j] = (D[r, j] +) sum over p &lt; k of A[r, p] * B[p, j],   r &lt; rows, j &lt; 16 * vectors
 * </pre>
 *
 * <p>with addresses and distances in bytes. Each element is one chain of fused multiply-adds in the
 * order of p, so it has the same bits as the tiles of {@link io.sfumato.tensor.cpu.simd}.
 *
 * <p>What the compiler of the JVM cannot make of that loop, and this is for: a step of 14 x 2
 * vectors has 28 sums in 32 registers and spills none; some rows are broadcast within the
 * multiply-add that uses them, as many as the two loads a cycle allow, which saves operations on a
 * core whose other thread is busy; and the cache is told what comes.
 */
public final class TileCode {
  /** Floats in a vector. */
  public static final int LANES = 16;

  /** The most rows: with the most vectors, their sums leave four registers. */
  public static final int MAX_ROWS = 14;

  /** The most vectors. */
  public static final int MAX_VECTORS = 2;

  private static final int REGISTERS = 32;
  private static final int VECTOR = 64;
  private static final int FLOAT = 4;
  private static final int UNROLL = 2;

  /** Operands are asked for {@code 1 << OPERANDS_AHEAD} steps before they are used. */
  private static final int OPERANDS_AHEAD = 4;

  /** Steps before the end at which the result is asked for. */
  private static final int RESULT_AHEAD = 40;

  /** So many of adjacent rows are broadcast by an instruction of their own. */
  private static final int OWN_BROADCASTS = 4;

  /** Registers that the caller wants back. */
  private static final Register[] SAVED = {RBX, RBP, R12, R13};

  // Arguments on the stack, below what is saved and the return address.
  private static final int ARGUMENTS = 8 * (SAVED.length + 1);
  private static final Address D = at(RSP, ARGUMENTS);
  private static final Address ROW_D = at(RSP, ARGUMENTS + 8);
  private static final Address C = at(RSP, ARGUMENTS + 16);
  private static final Address ROW_C = at(RSP, ARGUMENTS + 24);

  /** Registers that hold some rows of A, if its rows do not lie side by side. */
  private static final Register[] BASES = {RSI, RAX, R10, R11};

  /** The rows that these hold. */
  private static final int[] BASE_ROWS = {0, 3, 5, 10};

  /** For each row the base it is reached from: 0, 1, 2, 4 or 8 rows lie between. */
  private static final int[] BASE = {0, 0, 0, 1, 0, 2, 2, 2, 0, 2, 3, 3, 3, 2};

  private final int rows;
  private final int vectors;
  private final boolean adjacent;
  private final boolean sum;
  private final Assembler asm = new Assembler();

  private TileCode(int rows, int vectors, boolean adjacent, boolean sum) {
    this.rows = rows;
    this.vectors = vectors;
    this.adjacent = adjacent;
    this.sum = sum;
  }

  /**
   * The code for a tile.
   *
   * @param rows 1 to {@value #MAX_ROWS}
   * @param vectors 1 to {@value #MAX_VECTORS}
   * @param adjacent whether rows of A lie one float apart; their distance is not read then
   * @param sum whether there is a D to add; its address and distance are not read otherwise
   */
  public static byte[] of(int rows, int vectors, boolean adjacent, boolean sum) {
    if (rows < 1 || rows > MAX_ROWS || vectors < 1 || vectors > MAX_VECTORS) {
      throw new IllegalArgumentException("no tile of " + rows + " rows by " + vectors + " vectors");
    }
    return new TileCode(rows, vectors, adjacent, sum).write();
  }

  private byte[] write() {
    asm.enter(SAVED);
    asm.mov(RBX, R9);
    asm.shl(RBX, OPERANDS_AHEAD);
    asm.mov(RBP, RCX);
    asm.shl(RBP, OPERANDS_AHEAD);
    if (!adjacent) {
      asm.lea(RAX, at(RSI, 2, RDX));
      asm.add(RAX, RDX);
      asm.lea(R10, at(RAX, 2, RDX));
      asm.lea(R11, at(R10, 4, RDX));
      asm.add(R11, RDX);
    }
    for (int i = 0; i < rows * vectors; i++) {
      asm.vpxord(i, i, i);
    }
    asm.sub(RDI, RESULT_AHEAD + UNROLL);
    int last = asm.jlForward();
    loop();
    asm.land(last);
    prefetchResult();
    asm.add(RDI, RESULT_AHEAD);
    int few = asm.jlForward();
    loop();
    asm.land(few);
    asm.add(RDI, UNROLL);
    int done = asm.jzForward();
    int rest = asm.here();
    step();
    asm.sub(RDI, 1);
    asm.jnzBack(rest);
    asm.land(done);
    writeResult();
    asm.vzeroupper();
    asm.leave(SAVED);
    return asm.code();
  }

  /** Steps, some at a time, until RDI would be less than zero. */
  private void loop() {
    int loop = asm.here();
    for (int i = 0; i < UNROLL; i++) {
      step();
    }
    asm.sub(RDI, UNROLL);
    asm.jgeBack(loop);
  }

  /** One p for all sums. */
  private void step() {
    int b = rows * vectors;
    for (int v = 0; v < vectors; v++) {
      asm.vmovups(b + v, at(R8, v * VECTOR));
      asm.prefetcht0(at(R8, 1, RBX).plus(v * VECTOR));
    }
    if (adjacent) {
      asm.prefetcht0(at(RSI, 1, RBP));
    }
    int free = b + vectors;
    for (int r = 0; r < rows; r++) {
      if (isEmbedded(r)) {
        for (int v = 0; v < vectors; v++) {
          asm.vfmadd231psBroadcast(r * vectors + v, b + v, row(r));
        }
      } else {
        int x = free + r % (REGISTERS - free);
        asm.vbroadcastss(x, row(r));
        for (int v = 0; v < vectors; v++) {
          asm.vfmadd231ps(r * vectors + v, b + v, x);
        }
      }
    }
    asm.add(R8, R9);
    for (int i = 0; i < BASES.length; i++) {
      if (i == 0 || !adjacent && rows > BASE_ROWS[i]) {
        asm.add(BASES[i], RCX);
      }
    }
  }

  /**
   * Whether a row is broadcast anew in each multiply-add: that is one operation less, and for two
   * vectors one load more. Such rows are spread among the others. With an index in the address it
   * would be one operation more, for a processor takes such instructions apart.
   */
  private boolean isEmbedded(int r) {
    if (!adjacent) {
      return beyond(r) == 0;
    }
    int some = vectors == 1 ? rows : Math.max(0, rows - OWN_BROADCASTS);
    return (r + 1) * some / rows > r * some / rows;
  }

  /** How many rows a row lies beyond its base. */
  private static int beyond(int r) {
    return r - BASE_ROWS[BASE[r]];
  }

  private Address row(int r) {
    return adjacent ? at(RSI, r * FLOAT) : at(BASES[BASE[r]], beyond(r), RDX);
  }

  private void prefetchResult() {
    asm.mov(R12, sum ? D : C);
    asm.mov(R13, sum ? ROW_D : ROW_C);
    for (int r = 0; r < rows; r++) {
      for (int v = 0; v < vectors; v++) {
        asm.prefetcht0(at(R12, v * VECTOR));
      }
      asm.add(R12, R13);
    }
  }

  private void writeResult() {
    asm.mov(R12, C);
    asm.mov(R13, ROW_C);
    if (sum) {
      asm.mov(RSI, D);
      asm.mov(RDX, ROW_D);
    }
    for (int r = 0; r < rows; r++) {
      for (int v = 0; v < vectors; v++) {
        int result = r * vectors + v;
        if (sum) {
          asm.vaddps(result, result, at(RSI, v * VECTOR));
        }
        asm.vmovups(at(R12, v * VECTOR), result);
      }
      asm.add(R12, R13);
      if (sum) {
        asm.add(RSI, RDX);
      }
    }
  }
}
