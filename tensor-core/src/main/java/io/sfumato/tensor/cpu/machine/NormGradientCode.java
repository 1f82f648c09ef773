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
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RCX;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RDI;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RDX;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RSI;

import io.sfumato.tensor.cpu.machine.Assembler.Address;
import io.sfumato.tensor.cpu.machine.Assembler.Register;

/**
 * Machine code for the gradient of the normalisation of rows, on x86-64 with AVX-512 under the
 * calling convention of Unix:
 *
 * <pre>
 *   long gradient(long rows, long row, long x, long dy, long weight, long dx, long mean, long rstd,
 *                 long whole, long rest, long gain, long shift, double n)
 *   gain += dy x̂,  shift += dy,  dx = rstd (g - mean(g) - x̂ mean(g x̂)),  g = dy weight
 * </pre>
 *
 * <p>with arguments as {@link NormCode} has them. It takes {@value #PAIR} rows at a time, makes the
 * same steps in the same order as the loops of {@code RowGradientVectors}, and so gives the same
 * bits. The answer is the number of rows left, 1 or 0.
 *
 * <p>Sums of columns are read and written once for both rows, and what becomes of the four sums of
 * rows is computed in one vector.
 */
public final class NormGradientCode extends RowCode {
  /** Rows that are taken together. */
  private static final int PAIR = 2;

  private static final Address GAIN = argument(4);
  private static final Address SHIFT = argument(5);
  private static final Address LENGTH = argument(6);

  private static final Register[] X = {RDX, R10};
  private static final Register[] DY = {RCX, R11};
  private static final Register[] DX = {R9, R12};

  // Vectors; those of rows are two in a row.
  private static final int H = 0;
  private static final int D = 2;
  private static final int SUM = 4;
  private static final int PRODUCTS = 6;
  private static final int ROW_MEAN = 8;
  private static final int ROW_RSTD = 10;
  private static final int ROW_CONSTANT = 12;
  private static final int ROW_SLOPE = 14;
  private static final int WEIGHT = 16;
  private static final int COLUMN_GAIN = 24;
  private static final int COLUMN_SHIFT = 25;
  private static final int FACTORS = 26;
  private static final int MINUS_ONE_D = 30;
  private static final int LENGTH_D = 31;

  private final boolean centred;

  private NormGradientCode(boolean centred) {
    this.centred = centred;
  }

  /**
   * The code.
   *
   * @param centred whether rows have means, which are not read otherwise, and the mean of the
   *     gradient is subtracted
   */
  public static byte[] of(boolean centred) {
    return new NormGradientCode(centred).write();
  }

  private byte[] write() {
    asm.enter(SAVED);
    asm.mov(R13, GAIN);
    asm.mov(R14, SHIFT);
    asm.vbroadcastsd(LENGTH_D, LENGTH);
    asm.mov(RAX, Float.floatToRawIntBits(-1f));
    asm.vpbroadcastd(MINUS_ONE_D, RAX);
    asm.vcvtps2pd(MINUS_ONE_D, MINUS_ONE_D);
    int pair = asm.here();
    asm.mov(RAX, RDI);
    asm.sub(RAX, PAIR);
    int last = asm.jlForward();
    asm.lea(R10, at(RDX, 1, RSI));
    asm.lea(R11, at(RCX, 1, RSI));
    asm.lea(R12, at(R9, 1, RSI));
    statistics();
    sums();
    lines();
    forColumns(this::gradients);
    asm.lea(RDX, at(RDX, 2, RSI));
    asm.lea(RCX, at(RCX, 2, RSI));
    asm.lea(R9, at(R9, 2, RSI));
    asm.sub(RDI, PAIR);
    asm.jnzBack(pair);
    asm.land(last);
    asm.mov(RAX, RDI);
    asm.vzeroupper();
    asm.leave(SAVED);
    return asm.code();
  }

  private void statistics() {
    if (centred) {
      next(MEAN, ROW_MEAN);
    } else {
      asm.vpxord(ROW_MEAN, ROW_MEAN, ROW_MEAN);
      asm.vpxord(ROW_MEAN + 1, ROW_MEAN + 1, ROW_MEAN + 1);
    }
    next(RSTD, ROW_RSTD);
  }

  /** The next value of each row. */
  private void next(Address pointer, int rows) {
    asm.mov(R15, pointer);
    for (int r = 0; r < PAIR; r++) {
      asm.vbroadcastss(rows + r, at(R15, Float.BYTES * r));
    }
    asm.add(R15, Float.BYTES * PAIR);
    asm.mov(pointer, R15);
  }

  /** Adds to the sums of columns, and takes those of the rows, lane by lane. */
  private void sums() {
    for (int r = 0; r < PAIR; r++) {
      asm.vpxord(SUM + r, SUM + r, SUM + r);
      asm.vpxord(PRODUCTS + r, PRODUCTS + r, PRODUCTS + r);
    }
    forColumns(this::addUp);
  }

  private void addUp() {
    load(WEIGHT, R8);
    load(COLUMN_GAIN, R13);
    load(COLUMN_SHIFT, R14);
    for (int r = 0; r < PAIR; r++) {
      load(H + r, X[r]);
      load(D + r, DY[r]);
      asm.vsubps(H + r, H + r, ROW_MEAN + r);
      asm.vmulps(H + r, H + r, ROW_RSTD + r);
      asm.vfmadd231ps(COLUMN_GAIN, H + r, D + r);
      asm.vaddps(COLUMN_SHIFT, COLUMN_SHIFT, D + r);
      asm.vmulps(D + r, D + r, WEIGHT);
      asm.vaddps(SUM + r, SUM + r, D + r);
      asm.vfmadd231ps(PRODUCTS + r, H + r, D + r);
    }
    store(R13, COLUMN_GAIN);
    store(R14, COLUMN_SHIFT);
  }

  /**
   * {@code dx = rstd g + (x - mean) slope + constant}: {@code slope = -mean(g x̂) rstd²}, {@code
   * constant = -mean(g) rstd}.
   */
  private void lines() {
    quarters(SUM); // of both rows, and of their products behind them
    total(SUM);
    asm.vdivpd(SUM, SUM, LENGTH_D);
    asm.vshuff32x4(FACTORS, ROW_RSTD, ROW_RSTD + 1, 0x00);
    asm.vshuff32x4(FACTORS, FACTORS, FACTORS, 0x88);
    asm.vcvtps2pd(FACTORS, FACTORS);
    asm.vshuff64x2(FACTORS, FACTORS, FACTORS, 0x88);
    asm.vmulpd(SUM, SUM, FACTORS);
    asm.vmulpd(SUM + 1, SUM, FACTORS);
    negative(SUM, SPARE);
    negative(SUM + 1, SECOND_SPARE);
    for (int r = 0; r < PAIR; r++) {
      if (centred) {
        asm.vbroadcastss(ROW_CONSTANT + r, SPARE.plus(8 * r));
      } else {
        asm.vpxord(ROW_CONSTANT + r, ROW_CONSTANT + r, ROW_CONSTANT + r);
      }
      asm.vbroadcastss(ROW_SLOPE + r, SECOND_SPARE.plus(8 * (PAIR + r)));
    }
  }

  private void negative(int v, Address to) {
    asm.vmulpd(v, v, MINUS_ONE_D);
    asm.vcvtpd2ps(v, v);
    asm.vmovups(to, v);
  }

  private void gradients() {
    load(WEIGHT, R8);
    for (int r = 0; r < PAIR; r++) {
      load(H + r, X[r]);
      load(D + r, DY[r]);
      asm.vsubps(H + r, H + r, ROW_MEAN + r);
      asm.vfmadd213ps(H + r, ROW_SLOPE + r, ROW_CONSTANT + r);
      asm.vmulps(D + r, D + r, WEIGHT);
      asm.vfmadd213ps(D + r, ROW_RSTD + r, H + r);
      store(DX[r], D + r);
    }
  }
}
