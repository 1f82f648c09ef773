// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.OptimizerLoops.AdamStep;
import io.sfumato.tensor.cpu.Pilot;
import io.sfumato.tensor.cpu.machine.AdamCode;
import io.sfumato.tensor.cpu.machine.AdamCode.Constant;
import io.sfumato.tensor.cpu.machine.LinuxMemory;
import io.sfumato.tensor.cpu.machine.NormCode;
import io.sfumato.tensor.cpu.machine.NormGradientCode;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.List;

/**
 * Passes over memory by machine code ({@link NormCode}, {@link NormGradientCode}, {@link
 * AdamCode}), where tiles are made of it too ({@link AssembledTile}). They give the same bits as
 * those of {@link RowVectors}, {@link RowGradientVectors} and {@link VectorOptimizerLoops}.
 */
final class AssembledPasses {
  private static final ValueLayout.OfLong W = ValueLayout.JAVA_LONG;

  private static final MethodHandle NORM =
      LinuxMemory.caller(FunctionDescriptor.of(W, W, W, W, W, W, W, W, W, W, W, W, W, W, W));

  private static final MethodHandle GRADIENT =
      LinuxMemory.caller(FunctionDescriptor.of(W, W, W, W, W, W, W, W, W, W, W, W, W, W));

  private static final MethodHandle ADAM =
      LinuxMemory.caller(FunctionDescriptor.ofVoid(W, W, W, W, W, W, W, W));

  private final MemorySegment layerNorm;
  private final MemorySegment layerNormGradient;
  private final MemorySegment rmsNormGradient;
  private final MemorySegment adam;
  private final MemorySegment adamAverage;

  AssembledPasses() {
    List<MemorySegment> entries =
        LinuxMemory.load(
            List.of(
                NormCode.layerNorm(),
                NormGradientCode.of(true),
                NormGradientCode.of(false),
                AdamCode.of(false),
                AdamCode.of(true)));
    layerNorm = entries.get(0);
    layerNormGradient = entries.get(1);
    rmsNormGradient = entries.get(2);
    adam = entries.get(3);
    adamAverage = entries.get(4);
  }

  /**
   * Does what {@link io.sfumato.tensor.cpu.RowLoops#layerNorm} does, for the first rows.
   *
   * @param n at most {@link RowVectors#SUMMED}
   * @param weight not 0
   * @return how many rows are done; the last few may have to be done by other loops
   */
  int layerNorm(
      long x,
      long y,
      int rows,
      int n,
      long mean,
      long rstd,
      double epsilon,
      long weight,
      long bias) {
    int whole = Lanes.whole(n);
    try {
      long left =
          (long)
              NORM.invokeExact(
                  layerNorm,
                  (long) rows,
                  n * 4L,
                  x,
                  y,
                  weight,
                  bias,
                  mean,
                  rstd,
                  whole * 4L,
                  lanes(n - whole),
                  n / 4 * 4L,
                  Double.doubleToRawLongBits(n),
                  Double.doubleToRawLongBits(Pilot.NEAR * n),
                  Double.doubleToRawLongBits(epsilon));
      return rows - (int) left;
    } catch (Throwable e) { // declared, and thrown by nothing here
      throw new AssertionError(e);
    }
  }

  /**
   * Does what {@link io.sfumato.tensor.cpu.RowLoops#normalizeGradient} does, for the first rows.
   *
   * @return how many rows are done; the last one may have to be done by other loops
   */
  int normalizeGradient(
      long x,
      long dy,
      long dx,
      int rows,
      int n,
      long mean,
      long rstd,
      long weight,
      boolean centred,
      long gain,
      long shift) {
    MemorySegment entry = centred ? layerNormGradient : rmsNormGradient;
    int whole = Lanes.whole(n);
    try {
      long left =
          (long)
              GRADIENT.invokeExact(
                  entry,
                  (long) rows,
                  n * 4L,
                  x,
                  dy,
                  weight,
                  dx,
                  mean,
                  rstd,
                  whole * 4L,
                  lanes(n - whole),
                  gain,
                  shift,
                  Double.doubleToRawLongBits(n));
      return rows - (int) left;
    } catch (Throwable e) { // declared, and thrown by nothing here
      throw new AssertionError(e);
    }
  }

  /** {@link io.sfumato.tensor.cpu.OptimizerLoops#adam}. */
  void adam(long p, long g, long m, long v, int n, AdamStep step) {
    run(adam, p, g, m, v, 0, n, step, 0f);
  }

  /** {@link io.sfumato.tensor.cpu.OptimizerLoops#adamAverage}. */
  void adamAverage(long p, long g, long m, long v, long average, int n, AdamStep step, float rate) {
    run(adamAverage, p, g, m, v, average, n, step, rate);
  }

  private static void run(
      MemorySegment entry,
      long p,
      long g,
      long m,
      long v,
      long average,
      int n,
      AdamStep s,
      float averageRate) {
    long constants = Lanes.pads();
    put(constants, Constant.SCALE, s.gradientScale());
    put(constants, Constant.L2, s.l2());
    put(constants, Constant.BETA1, s.beta1());
    put(constants, Constant.REST1, 1 - s.beta1());
    put(constants, Constant.BETA2, s.beta2());
    put(constants, Constant.REST2, 1 - s.beta2());
    put(constants, Constant.ROOT, s.root());
    put(constants, Constant.EPSILON, s.epsilon());
    put(constants, Constant.RATE, s.rate());
    put(constants, Constant.KEEP, s.keep());
    put(constants, Constant.STEP, averageRate);
    int whole = Lanes.whole(n);
    try {
      ADAM.invokeExact(entry, whole * 4L, lanes(n - whole), p, g, m, v, average, constants);
    } catch (Throwable e) { // declared, and thrown by nothing here
      throw new AssertionError(e);
    }
  }

  private static void put(long constants, Constant c, double value) {
    Memory.putFloat(constants + 4L * c.ordinal(), (float) value);
  }

  /** A bit for each of so many lanes. */
  private static long lanes(int n) {
    return (1L << n) - 1;
  }
}
