// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.machine;

import static io.sfumato.tensor.cpu.machine.Assembler.Address.at;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R10;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R11;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R8;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R9;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RAX;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RCX;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RDI;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RDX;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RSI;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RSP;

import io.sfumato.tensor.cpu.machine.Assembler.Address;
import io.sfumato.tensor.cpu.machine.Assembler.Register;

/**
 * Machine code for a step of Adam or AdamW, on x86-64 with AVX-512 under the calling convention of
 * Unix:
 *
 * <pre>
 *   void adam(long whole, long rest, long p, long g, long m, long v, long average, long constants)
 *   g' = l2 p + scale g,  m = β₁ m + (1 - β₁) g',  v = β₂ v + (1 - β₂) g'²
 *   p = keep p - rate m / (root √v + ε),  average += step (p - average)
 * </pre>
 *
 * <p>over {@code whole} bytes of whole vectors and the lanes of {@code rest}, a bit each. The steps
 * and their rounding are those of the loops of {@code VectorOptimizerLoops}, so the bits are the
 * same.
 *
 * <p>What the JVM has no means for: operands are asked for {@value #AHEAD} bytes before they are
 * used. The loop waits for memory alone, and that takes a sixth off its time.
 */
public final class AdamCode extends PassCode {
  /** The constants, floats in this order. */
  public enum Constant {
    SCALE,
    L2,
    BETA1,
    REST1,
    BETA2,
    REST2,
    ROOT,
    EPSILON,
    RATE,
    KEEP,
    STEP
  }

  private static final int AHEAD = 2048;

  private static final Address AVERAGE = at(RSP, 8);
  private static final Address CONSTANTS = at(RSP, 16);

  private static final int PARAMETER = 0;
  private static final int GRADIENT = 1;
  private static final int FIRST = 2;
  private static final int SECOND = 3;
  private static final int MEAN = 4;
  private static final int T = 5;

  /** The first register of constants. */
  private static final int KNOWN = 16;

  private final boolean averaged;

  private AdamCode(boolean averaged) {
    this.averaged = averaged;
  }

  /**
   * The code.
   *
   * @param averaged whether there is an average; neither it nor its constant is read otherwise
   */
  public static byte[] of(boolean averaged) {
    return new AdamCode(averaged).write();
  }

  private byte[] write() {
    asm.mov(R10, AVERAGE);
    asm.mov(R11, CONSTANTS);
    for (Constant c : Constant.values()) {
      if (averaged || c != Constant.STEP) {
        asm.vbroadcastss(known(c), at(R11, Float.BYTES * c.ordinal()));
      }
    }
    forVectors(RDI, RSI, this::vector);
    asm.vzeroupper();
    asm.ret();
    return asm.code();
  }

  private static int known(Constant c) {
    return KNOWN + c.ordinal();
  }

  private void prefetch(Register operand) {
    asm.prefetcht0(at(operand, 1, RAX).plus(AHEAD));
  }

  private void vector() {
    if (!isPartial()) {
      prefetch(RDX);
      prefetch(RCX);
      prefetch(R8);
      prefetch(R9);
      if (averaged) {
        prefetch(R10);
      }
    }
    load(PARAMETER, RDX);
    load(GRADIENT, RCX);
    asm.vmulps(GRADIENT, GRADIENT, known(Constant.SCALE));
    asm.vfmadd231ps(GRADIENT, PARAMETER, known(Constant.L2));
    load(FIRST, R8);
    asm.vmulps(T, GRADIENT, known(Constant.REST1));
    asm.vfmadd213ps(FIRST, known(Constant.BETA1), T);
    load(SECOND, R9);
    asm.vmulps(T, GRADIENT, GRADIENT);
    asm.vmulps(T, T, known(Constant.REST2));
    asm.vfmadd213ps(SECOND, known(Constant.BETA2), T);
    store(R8, FIRST);
    store(R9, SECOND);
    asm.vsqrtps(T, SECOND);
    asm.vfmadd213ps(T, known(Constant.ROOT), known(Constant.EPSILON));
    asm.vmulps(FIRST, FIRST, known(Constant.RATE));
    asm.vdivps(FIRST, FIRST, T);
    asm.vmulps(PARAMETER, PARAMETER, known(Constant.KEEP));
    asm.vsubps(PARAMETER, PARAMETER, FIRST);
    store(RDX, PARAMETER);
    if (averaged) {
      load(MEAN, R10);
      asm.vsubps(T, PARAMETER, MEAN);
      asm.vfmadd231ps(MEAN, T, known(Constant.STEP));
      store(R10, MEAN);
    }
  }
}
