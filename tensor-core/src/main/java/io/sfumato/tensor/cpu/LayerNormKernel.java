// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import org.jspecify.annotations.Nullable;

/**
 * Layer normalisation (Ba et al. 2016) and RMS normalisation (Zhang and Sennrich 2019) of the rows
 * of contiguous f32 matrices, on all threads. Variances are computed in two passes. Results do not
 * depend on the number of threads. An address of 0 stands for an absent optional operand.
 */
public final class LayerNormKernel {
  private LayerNormKernel() {}

  /**
   * The operands of {@code y = (x̂ weight + bias)(1 + scale) + shift}, {@code x̂ = (x - mean)
   * rstd}.
   *
   * @param batches the number of scale and shift vectors
   * @param rows rows per batch; x is [batches, rows, n]
   * @param n row length
   * @param weight weights [n] or 0
   * @param bias biases [n] or 0
   * @param scale scales, one vector of n per batch, or 0 (adaLN, Peebles and Xie 2023)
   * @param shift shifts, one vector of n per batch, or 0
   * @param modulationStride floats from one batch's scale (and shift) to the next
   */
  public record Affine(
      int batches,
      int rows,
      int n,
      long weight,
      long bias,
      long scale,
      long shift,
      long modulationStride) {

    /** Rows without modulation. */
    public static Affine of(int rows, int n, long weight, long bias) {
      return new Affine(1, rows, n, weight, bias, 0, 0, 0);
    }

    private boolean isPlain() {
      return weight == 0 && bias == 0 && scale == 0 && shift == 0;
    }

    private boolean isModulated() {
      return scale != 0 || shift != 0;
    }
  }

  /**
   * Where gradients go; each address may be 0.
   *
   * @param x [batches, rows, n]; may be the memory of dy
   * @param weight [n]
   * @param bias [n]
   * @param scale one vector of n per batch
   * @param shift one vector of n per batch
   * @param modulationStride floats from one batch's scale (and shift) gradient to the next
   */
  public record Gradients(
      long x, long weight, long bias, long scale, long shift, long modulationStride) {}

  /**
   * Layer norm forward.
   *
   * @param x input [batches, rows, n]
   * @param y result, same shape; may be the memory of x
   * @param mean row means [batches * rows], written
   * @param rstd row {@code 1 / sqrt(variance + epsilon)} [batches * rows], written
   * @param a the optional operands and sizes
   * @param epsilon added to the variance
   */
  public static void forward(long x, long y, long mean, long rstd, Affine a, double epsilon) {
    RowLoops loops = Loops.leaf().rows();
    int n = a.n;
    long stride = n * 4L;
    long parameters = effectiveParameters(a);
    Loops.forRows(
        Math.multiplyExact(a.batches, a.rows),
        n,
        (begin, end, worker) -> {
          for (int r = begin; r < end; r++) {
            long row = x + r * stride;
            float m = (float) loops.mean(row, n);
            double variance = Math.max(0, loops.squaredDeviations(row, n, m) / n);
            float s = (float) (1 / Math.sqrt(variance + epsilon));
            Memory.putFloat(mean + r * 4L, m);
            Memory.putFloat(rstd + r * 4L, s);
            long weight = weightOf(a, parameters, r);
            long bias = a.isPlain() ? 0 : isDirect(a) ? a.bias : weight + stride;
            loops.normalize(row, y + r * stride, n, m, s, weight, bias);
          }
        });
  }

  private static boolean isDirect(Affine a) {
    return a.weight != 0 && a.bias != 0 && !a.isModulated();
  }

  private static long weightOf(Affine a, long parameters, int row) {
    if (a.isPlain()) {
      return 0;
    }
    return isDirect(a) ? a.weight : parameters + row / a.rows * (2L * a.n * 4);
  }

  /** {@code weight (1 + scale)} and {@code bias (1 + scale) + shift}, [batches, 2, n]. */
  private static long effectiveParameters(Affine a) {
    if (a.isPlain() || isDirect(a)) {
      return 0;
    }
    long stride = a.n * 4L;
    long out = Scratch.get(Scratch.Slot.PARAMETERS, a.batches * 2 * stride);
    for (int b = 0; b < a.batches; b++) {
      long modulation = b * a.modulationStride * 4;
      for (int j = 0; j < a.n; j++) {
        long c = j * 4L;
        float gain = 1f + optional(a.scale, modulation + c, 0f);
        long at = out + b * 2 * stride + c;
        Memory.putFloat(at, optional(a.weight, c, 1f) * gain);
        float shift = optional(a.shift, modulation + c, 0f);
        Memory.putFloat(at + stride, Math.fma(optional(a.bias, c, 0f), gain, shift));
      }
    }
    return out;
  }

  private static float optional(long base, long offset, float otherwise) {
    return base == 0 ? otherwise : Memory.getFloat(base + offset);
  }

  /**
   * Layer norm backward.
   *
   * @param x input [batches, rows, n]
   * @param dy gradient of the result
   * @param mean row means, from {@link #forward}
   * @param rstd row factors, from {@link #forward}
   * @param a the operands and sizes of the forward pass
   * @param out where the gradients go
   */
  public static void backward(long x, long dy, long mean, long rstd, Affine a, Gradients out) {
    long parameters = effectiveParameters(a);
    boolean sums = out.weight != 0 || out.bias != 0 || out.scale != 0 || out.shift != 0;
    double[] total =
        run(
            x,
            dy,
            out.x,
            mean,
            rstd,
            a.batches,
            a.rows,
            a.n,
            true,
            sums,
            row -> weightOf(a, parameters, row));
    if (total != null) {
      finish(a, out, total);
    }
  }

  private static void finish(Affine a, Gradients out, double[] total) {
    int n = a.n;
    for (int j = 0; j < n; j++) {
      double dw = 0;
      double db = 0;
      double w = optional(a.weight, j * 4L, 1f);
      double bias = optional(a.bias, j * 4L, 0f);
      for (int b = 0; b < a.batches; b++) {
        double gain = total[b * 2 * n + j];
        double shift = total[(b * 2 + 1) * n + j];
        double factor = 1 + optional(a.scale, (b * a.modulationStride + j) * 4, 0f);
        dw += gain * factor;
        db += shift * factor;
        long at = (b * out.modulationStride + j) * 4;
        putOptional(out.scale, at, gain * w + shift * bias);
        putOptional(out.shift, at, shift);
      }
      putOptional(out.weight, j * 4L, dw);
      putOptional(out.bias, j * 4L, db);
    }
  }

  private static void putOptional(long base, long offset, double value) {
    if (base != 0) {
      Memory.putFloat(base + offset, (float) value);
    }
  }

  @FunctionalInterface
  private interface WeightOfRow {
    long at(int row);
  }

  /**
   * Runs the row gradients; returns {@code Σ dy x̂} and {@code Σ dy} as [batches, 2, n] or null.
   */
  private static double @Nullable [] run(
      long x,
      long dy,
      long dx,
      long mean,
      long rstd,
      int batches,
      int rows,
      int n,
      boolean centred,
      boolean sums,
      WeightOfRow weight) {
    RowLoops loops = Loops.leaf().rows();
    long stride = n * 4L;
    int perBlock = Reductions.rowsPerBlock(rows);
    int blocks = (rows + perBlock - 1) / perBlock;
    int work = Math.multiplyExact(batches, blocks);
    long parts = sums ? Scratch.get(Scratch.Slot.PARTIAL_SUMS, Math.max(1, work) * 2 * stride) : 0;
    Parallel.forRange(
        work,
        1,
        (begin, end, worker) -> {
          for (int i = begin; i < end; i++) {
            long gain = sums ? parts + i * 2 * stride : 0;
            if (sums) {
              Memory.zero(gain, 2 * stride);
            }
            int first = i % blocks * perBlock;
            int last = Math.min(rows, first + perBlock);
            for (int k = first; k < last; k++) {
              int r = i / blocks * rows + k;
              loops.normalizeGradient(
                  x + r * stride,
                  dy + r * stride,
                  dx == 0 ? 0 : dx + r * stride,
                  n,
                  mean == 0 ? 0f : Memory.getFloat(mean + r * 4L),
                  Memory.getFloat(rstd + r * 4L),
                  weight.at(r),
                  centred,
                  gain,
                  sums ? gain + stride : 0);
            }
          }
        });
    if (!sums) {
      return null;
    }
    double[] total = new double[batches * 2 * n];
    for (int i = 0; i < work; i++) {
      int to = i / blocks * 2 * n;
      for (int j = 0; j < 2 * n; j++) {
        total[to + j] += Memory.getFloat(parts + (i * 2L * n + j) * 4);
      }
    }
    return total;
  }

  /**
   * RMS norm forward: {@code y = x rstd weight}, {@code rstd = 1 / sqrt(mean(x²) + epsilon)}.
   *
   * @param x input [rows, n]
   * @param y result [rows, n]; may be the memory of x
   * @param weight weights [n] or 0
   * @param rstd row factors [rows], written
   * @param rows the number of rows
   * @param n row length
   * @param epsilon added to the mean square
   */
  public static void rmsForward(
      long x, long y, long weight, long rstd, int rows, int n, double epsilon) {
    RowLoops loops = Loops.leaf().rows();
    ReduceLoops reduce = Loops.leaf().reduce();
    long stride = n * 4L;
    long zeros = Scratch.get(Scratch.Slot.PARAMETERS, Math.max(4, stride));
    Memory.zero(zeros, stride);
    Loops.forRows(
        rows,
        n,
        (begin, end, worker) -> {
          for (int r = begin; r < end; r++) {
            long row = x + r * stride;
            double meanSquare = reduce.sumOfSquares(row, n) / n;
            float s = (float) (1 / Math.sqrt(meanSquare + epsilon));
            Memory.putFloat(rstd + r * 4L, s);
            loops.normalize(row, y + r * stride, n, 0f, s, weight, weight == 0 ? 0 : zeros);
          }
        });
  }

  /**
   * RMS norm backward.
   *
   * @param x input [rows, n]
   * @param dy gradient of the result
   * @param weight weights [n] or 0
   * @param rstd row factors, from {@link #rmsForward}
   * @param dx gradient of x, or 0; may be the memory of dy
   * @param dweight gradient of the weights [n], or 0
   * @param rows the number of rows
   * @param n row length
   */
  public static void rmsBackward(
      long x, long dy, long weight, long rstd, long dx, long dweight, int rows, int n) {
    double[] total = run(x, dy, dx, 0, rstd, 1, rows, n, false, dweight != 0, row -> weight);
    if (total != null) {
      for (int j = 0; j < n; j++) {
        Memory.putFloat(dweight + j * 4L, (float) total[j]);
      }
    }
  }
}
