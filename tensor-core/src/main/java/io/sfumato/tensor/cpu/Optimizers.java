// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.cpu.OptimizerLoops.AdamStep;
import io.sfumato.tensor.cpu.OptimizerLoops.SgdStep;

/** Optimizer updates over contiguous f32 memory, in place, on all threads. */
public final class Optimizers {
  private Optimizers() {}

  /**
   * One step of Adam or AdamW; see {@link OptimizerLoops#adam}.
   *
   * @param p parameters, updated
   * @param g gradients
   * @param m first moments, updated
   * @param v second moments, updated
   * @param n the number of parameters
   * @param step constants
   */
  public static void adam(long p, long g, long m, long v, long n, AdamStep step) {
    OptimizerLoops loops = Loops.leaf().optimizer();
    Loops.forChunks(
        n, (at, k) -> loops.adam(p + at * 4, g + at * 4, m + at * 4, v + at * 4, k, step));
  }

  /**
   * {@link #adam(long, long, long, long, long, AdamStep)} for many parameters, in one loop over all
   * of them.
   *
   * @param p addresses of parameters, updated
   * @param g addresses of gradients
   * @param type their type; those of 16 bits are widened piece by piece
   * @param m addresses of first moments, updated
   * @param v addresses of second moments, updated
   * @param n the numbers of elements
   * @param step constants
   */
  public static void adam(
      long[] p, long[] g, DType type, long[] m, long[] v, long[] n, AdamStep step) {
    OptimizerLoops loops = Loops.leaf().optimizer();
    Loops.forArrays(
        n,
        (k, from, count) -> {
          long at = from * 4;
          loops.adam(p[k] + at, floats(g[k], type, from, count), m[k] + at, v[k] + at, count, step);
        });
  }

  /**
   * {@link #adam(long[], long[], DType, long[], long[], long[], AdamStep)} and {@link #ema(long[],
   * long[], long[], float)} of the new parameters in one pass, with the same bits.
   *
   * @param average addresses of averages, updated
   * @param decay how much of the averages stays
   */
  public static void adamAverage(
      long[] p,
      long[] g,
      DType type,
      long[] m,
      long[] v,
      long[] average,
      long[] n,
      AdamStep step,
      float decay) {
    OptimizerLoops loops = Loops.leaf().optimizer();
    float rate = 1 - decay;
    Loops.forArrays(
        n,
        (k, from, count) -> {
          long at = from * 4;
          loops.adamAverage(
              p[k] + at,
              floats(g[k], type, from, count),
              m[k] + at,
              v[k] + at,
              average[k] + at,
              count,
              step,
              rate);
        });
  }

  /** Elements from one on as floats: where they lie, or in a buffer. */
  private static long floats(long address, DType type, long from, int n) {
    if (type == DType.F32) {
      return address + 4 * from;
    }
    long to = Scratch.get(Scratch.Slot.WIDENED, 4L * n);
    Loops.leaf().casts().widen(type, address + 2 * from, to, n);
    return to;
  }

  /** {@code p -= lr (scale g + wd p)}; momentum is not used. */
  public static void sgd(long p, long g, long n, SgdStep step) {
    OptimizerLoops loops = Loops.leaf().optimizer();
    Loops.forChunks(n, (at, k) -> loops.sgd(p + at * 4, g + at * 4, k, step));
  }

  /**
   * One step with momentum; see {@link OptimizerLoops#sgdMomentum}. The first step of PyTorch's SGD
   * sets the velocity to the gradient whatever the dampening: pass dampening 0 with velocity 0.
   */
  public static void sgdMomentum(long p, long g, long v, long n, SgdStep step) {
    OptimizerLoops loops = Loops.leaf().optimizer();
    Loops.forChunks(n, (at, k) -> loops.sgdMomentum(p + at * 4, g + at * 4, v + at * 4, k, step));
  }

  /** {@code average += (1 - decay)(p - average)}. */
  public static void ema(long average, long p, long n, float decay) {
    OptimizerLoops loops = Loops.leaf().optimizer();
    Loops.forChunks(n, (at, k) -> loops.ema(average + at * 4, p + at * 4, k, decay));
  }

  /** {@link #ema(long, long, long, float)} of many arrays, in one loop over all of them. */
  public static void ema(long[] average, long[] p, long[] n, float decay) {
    OptimizerLoops loops = Loops.leaf().optimizer();
    Loops.forArrays(
        n, (k, from, count) -> loops.ema(average[k] + from * 4, p[k] + from * 4, count, decay));
  }
}
