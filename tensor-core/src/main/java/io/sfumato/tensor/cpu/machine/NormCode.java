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
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RBX;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RCX;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RDI;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RDX;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RSI;

import io.sfumato.tensor.cpu.machine.Assembler.Address;
import io.sfumato.tensor.cpu.machine.Assembler.Register;

/**
 * Machine code for layer norm of rows, on x86-64 with AVX-512 under the calling convention of Unix:
 *
 * <pre>
 *   long norm(long rows, long row, long x, long y, long weight, long bias, long mean, long rstd,
 *             long whole, long rest, long sample, double n, double near, double epsilon)
 *   y = (x - mean) rstd weight + bias
 * </pre>
 *
 * <p>with distances in bytes: {@code row} from one row to the next, {@code whole} what whole
 * vectors cover of it, {@code sample} between the values of the {@link
 * io.sfumato.tensor.cpu.Pilot}; {@code rest} has a bit for each lane of the last, partial vector.
 * All arguments are passed as integers, doubles by their bits.
 *
 * <p>It takes {@value #GROUP} rows at a time, makes the same steps in the same order as the loops
 * of {@code RowVectors}, and so gives the same bits. The answer is the number of rows left, fewer
 * than a group.
 *
 * <p>What the compiler of the JVM cannot make of it: sums of four rows are added up, divided and
 * rooted in vectors, and nothing is stored in between. A compiled loop over four rows took a fifth
 * longer than the memory that it reads and writes.
 */
public final class NormCode extends RowCode {
  /** Rows that are taken together. */
  private static final int GROUP = 4;

  private static final Address SAMPLE = argument(4);
  private static final Address LENGTH = argument(5);
  private static final Address NEAR = argument(6);
  private static final Address EPSILON = argument(7);

  private static final Register[] X = {RDX, R10, R11, R12};
  private static final Register[] Y = {RCX, R13, R14, RBX};

  // Vectors; those of rows are four in a row.
  private static final int DEVIATION = 0;
  private static final int SUM = 4;
  private static final int SQUARES = 8;
  private static final int PILOT = 12;
  private static final int ROW_MEAN = 4;
  private static final int ROW_RSTD = 8;
  private static final int GAIN = 16;
  private static final int SHIFT = 17;
  private static final int OLD = 22; // pilots in double, and one more
  private static final int DISTANCE = 24;
  private static final int ONE_D = 26;
  private static final int QUARTER = 27;
  private static final int ZERO = 28;
  private static final int EPSILON_D = 29;
  private static final int NEAR_D = 30;
  private static final int LENGTH_D = 31;

  // Masks.
  private static final int EVERY_SECOND = 2;
  private static final int FIRST_FOUR = 3;
  private static final int FAR = 4;

  private NormCode() {}

  /** The code. */
  public static byte[] layerNorm() {
    return new NormCode().write();
  }

  private byte[] write() {
    asm.enter(SAVED);
    constants();
    int group = asm.here();
    asm.mov(RAX, RDI);
    asm.sub(RAX, GROUP);
    int few = asm.jlForward();
    asm.lea(R10, at(RDX, 1, RSI));
    asm.lea(R11, at(RDX, 2, RSI));
    asm.lea(R12, at(R10, 2, RSI));
    pilots();
    moments();
    statistics();
    asm.lea(R13, at(RCX, 1, RSI));
    asm.lea(R14, at(RCX, 2, RSI));
    asm.lea(RBX, at(R13, 2, RSI));
    forColumns(this::normalize);
    asm.lea(RDX, at(RDX, 4, RSI));
    asm.lea(RCX, at(RCX, 4, RSI));
    asm.sub(RDI, GROUP);
    asm.jnzBack(group);
    asm.land(few);
    asm.mov(RAX, RDI);
    asm.vzeroupper();
    asm.leave(SAVED);
    return asm.code();
  }

  private void constants() {
    asm.mov(RAX, 0x5555);
    asm.kmovw(EVERY_SECOND, RAX);
    asm.mov(RAX, 0xF);
    asm.kmovw(FIRST_FOUR, RAX);
    asm.vbroadcastsd(LENGTH_D, LENGTH);
    asm.vbroadcastsd(NEAR_D, NEAR);
    asm.vbroadcastsd(EPSILON_D, EPSILON);
    asm.vpxord(ZERO, ZERO, ZERO);
    asm.mov(RAX, Float.floatToRawIntBits(0.25f));
    asm.vpbroadcastd(QUARTER, RAX);
    asm.mov(RAX, Float.floatToRawIntBits(1f));
    asm.vpbroadcastd(ONE_D, RAX);
    asm.vcvtps2pd(ONE_D, ONE_D);
  }

  /** The pilot of each row, in all lanes. */
  private void pilots() {
    asm.mov(R15, SAMPLE);
    asm.lea(R13, at(R15, 2, R15));
    for (int r = 0; r < GROUP; r++) {
      asm.vbroadcastss(PILOT + r, at(X[r], 0));
      asm.vaddpsBroadcast(PILOT + r, PILOT + r, at(X[r], 1, R15));
      asm.vbroadcastss(T + r, at(X[r], 2, R15));
      asm.vaddpsBroadcast(T + r, T + r, at(X[r], 1, R13));
      asm.vaddps(PILOT + r, PILOT + r, T + r);
      asm.vmulps(PILOT + r, QUARTER, PILOT + r);
    }
  }

  /**
   * Sums around the pilots, and once more for rows that theirs does not serve, around the means
   * that they found. The other rows of the group find the same sums again.
   */
  private void moments() {
    asm.sub(RBX, RBX);
    int again = asm.here();
    sums();
    asm.vshuff32x4(OLD, PILOT, PILOT + 1, 0x00);
    asm.vshuff32x4(OLD + 1, PILOT + 2, PILOT + 3, 0x00);
    asm.vshuff32x4(OLD, OLD, OLD + 1, 0x88);
    doubles(OLD);
    together(OLD);
    asm.vdivpd(DISTANCE, SUM, LENGTH_D);
    asm.vmulpd(T, SUM, SUM);
    asm.test(RBX);
    int second = asm.jnzForward();
    asm.vmulpd(T + 1, NEAR_D, SQUARES);
    asm.vcmpnlepd(FAR, T, T + 1);
    asm.kmovw(RAX, FAR);
    asm.test(RAX);
    int near = asm.jzForward();
    asm.vaddpdMasked(OLD, FAR, OLD, DISTANCE);
    spread(OLD, SPARE, PILOT);
    asm.add(RBX, 1);
    asm.jnzBack(again);
    asm.land(second);
    asm.land(near);
  }

  /** Of {@code x - pilot} and of its squares, in double. */
  private void sums() {
    for (int r = 0; r < GROUP; r++) {
      asm.vpxord(SUM + r, SUM + r, SUM + r);
      asm.vpxord(SQUARES + r, SQUARES + r, SQUARES + r);
    }
    forColumns(this::addUp);
    quarters(SUM);
    quarters(SQUARES);
    total(SUM);
    total(SQUARES);
  }

  private void addUp() {
    for (int r = 0; r < GROUP; r++) {
      load(DEVIATION + r, X[r]);
      subtract(DEVIATION + r, DEVIATION + r, PILOT + r);
      asm.vaddps(SUM + r, SUM + r, DEVIATION + r);
      asm.vfmadd231ps(SQUARES + r, DEVIATION + r, DEVIATION + r);
    }
  }

  /** Mean and rstd of the rows, to where they go and to all lanes. */
  private void statistics() {
    asm.vdivpd(T, T, LENGTH_D);
    asm.vsubpd(T, SQUARES, T);
    asm.vmaxpd(T, ZERO, T);
    asm.vdivpd(T, T, LENGTH_D);
    asm.vaddpd(T, T, EPSILON_D);
    asm.vsqrtpd(T, T);
    asm.vdivpd(T, ONE_D, T);
    asm.vaddpd(DISTANCE, OLD, DISTANCE);
    write(MEAN, SPARE, DISTANCE, ROW_MEAN);
    write(RSTD, SECOND_SPARE, T, ROW_RSTD);
  }

  /** Four doubles, each twice in a vector, as floats to all lanes of four vectors. */
  private void spread(int values, Address scratch, int rows) {
    asm.vcvtpd2ps(values, values);
    asm.vmovups(scratch, values);
    for (int r = 0; r < GROUP; r++) {
      asm.vbroadcastss(rows + r, scratch.plus(8 * r));
    }
  }

  /** Likewise, and to memory. */
  private void write(Address pointer, Address scratch, int values, int rows) {
    spread(values, scratch, rows);
    asm.vcompressps(values, EVERY_SECOND, values);
    asm.mov(RAX, pointer);
    asm.vmovupsMasked(at(RAX, 0), FIRST_FOUR, values);
    asm.add(RAX, 4 * GROUP);
    asm.mov(pointer, RAX);
  }

  private void normalize() {
    load(GAIN, R8);
    load(SHIFT, R9);
    for (int r = 0; r < GROUP; r++) {
      load(DEVIATION + r, X[r]);
      asm.vsubps(DEVIATION + r, DEVIATION + r, ROW_MEAN + r);
      asm.vmulps(DEVIATION + r, DEVIATION + r, ROW_RSTD + r);
      asm.vfmadd213ps(DEVIATION + r, GAIN, SHIFT);
      store(Y[r], DEVIATION + r);
    }
  }
}
