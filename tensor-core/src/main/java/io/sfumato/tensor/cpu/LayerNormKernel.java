// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import org.jspecify.annotations.Nullable;

/**
 * Layer normalisation (Ba et al. 2016) and RMS normalisation (Zhang and Sennrich 2019) of the rows
 * of contiguous f32 matrices, on all threads. Results do not depend on the number of threads. An
 * address of 0 stands for an absent optional operand.
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
   * Where gradients go; each address but x may be 0.
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
    Rows operands = new Rows(a);
    boolean direct = operands.direct();
    int n = a.n;
    Parallel.forRange(
        Math.multiplyExact(a.batches, a.rows),
        groupedGrain(n),
        (begin, end, worker) -> {
          long weight = a.weight;
          long bias = a.bias;
          if (!direct) {
            weight = Scratch.get(Scratch.Slot.ROW, 8L * n);
            bias = weight + 4L * n;
          }
          int last;
          for (int r = begin; r < end; r = last) {
            int batch = r / a.rows;
            last = Math.min(end, (batch + 1) * a.rows);
            if (!direct) {
              operands.combine(batch, weight);
            }
            long at = r * 4L;
            loops.layerNorm(
                x + at * n, y + at * n, last - r, n, mean + at, rstd + at, epsilon, weight, bias);
          }
        });
  }

  /** The weights and biases of the rows, as {@code y = x̂ weight + bias} has them. */
  private record Rows(Affine a) {
    /** The weights of all rows, or 0 if there are none, or if the batches differ. */
    boolean direct() {
      return a.isPlain() || a.weight != 0 && a.bias != 0 && !a.isModulated();
    }

    /** {@code weight (1 + scale)} and {@code bias (1 + scale) + shift} of one batch, [2, n]. */
    void combine(int batch, long out) {
      ElementwiseLoops loops = Loops.leaf().elementwise();
      int n = a.n;
      long modulation = batch * a.modulationStride * 4;
      long constant = out + n * 4L;
      if (a.scale == 0) {
        loops.fill(1f, out, n);
      } else {
        loops.binaryRight(BinaryOp.ADD, a.scale + modulation, 1f, out, n);
      }
      if (a.bias != 0 && a.shift != 0) {
        loops.multiplyAdd(a.shift + modulation, a.bias, out, constant, n);
      } else if (a.bias != 0) {
        loops.binary(BinaryOp.MUL, a.bias, out, constant, n);
      } else if (a.shift != 0) {
        Memory.copy(a.shift + modulation, constant, n * 4L);
      } else {
        loops.fill(0f, constant, n);
      }
      if (a.weight != 0) {
        loops.binary(BinaryOp.MUL, a.weight, out, out, n);
      }
    }
  }

  /** Rows per piece of work: a whole number of groups. */
  private static int groupedGrain(int n) {
    return (Loops.rowGrain(n) + RowLoops.GROUP - 1) / RowLoops.GROUP * RowLoops.GROUP;
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
    boolean sums = out.weight != 0 || out.bias != 0 || out.scale != 0 || out.shift != 0;
    double[] total = run(x, dy, out.x, mean, rstd, a, true, sums);
    if (total != null) {
      finish(a, out, total);
    }
  }

  private static void finish(Affine a, Gradients out, double[] total) {
    for (int j = 0; j < a.n; j++) {
      finish(a, out, total, j);
    }
  }

  /** Of one column; apart, so that it is compiled after few calls. */
  private static void finish(Affine a, Gradients out, double[] total, int j) {
    int n = a.n;
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

  private static void putOptional(long base, long offset, double value) {
    if (base != 0) {
      Memory.putFloat(base + offset, (float) value);
    }
  }

  /**
   * Runs the row gradients; returns {@code Σ dy x̂} and {@code Σ dy} as [batches, 2, n] or null.
   */
  private static double @Nullable [] run(
      long x, long dy, long dx, long mean, long rstd, Affine a, boolean centred, boolean sums) {
    RowLoops loops = Loops.leaf().rows();
    Rows operands = new Rows(a);
    int n = a.n;
    long stride = n * 4L;
    int perBlock = Reductions.rowsPerBlock(a.rows);
    int blocks = (a.rows + perBlock - 1) / perBlock;
    int work = Math.multiplyExact(a.batches, blocks);
    long parts = sums ? Scratch.get(Scratch.Slot.PARTIAL_SUMS, Math.max(1, work) * 2 * stride) : 0;
    boolean direct = a.weight != 0 && !a.isModulated();
    Parallel.forRange(
        work,
        1,
        (begin, end, worker) -> {
          long row = Scratch.get(Scratch.Slot.ROW, 4 * stride);
          long weight = direct ? a.weight : row;
          int combined = -1;
          for (int item = begin; item < end; item++) {
            int i = work - 1 - item; // from the end: what came last is still in the cache
            int batch = i / blocks;
            if (!direct && batch != combined) {
              operands.combine(batch, row);
              combined = batch;
            }
            long gain = sums ? parts + i * 2 * stride : row + 2 * stride;
            Memory.zero(gain, 2 * stride);
            int first = i % blocks * perBlock;
            int last = Math.min(a.rows, first + perBlock);
            long from = (long) batch * a.rows + first;
            loops.normalizeGradient(
                x + from * stride,
                dy + from * stride,
                dx + from * stride,
                last - first,
                n,
                mean == 0 ? 0 : mean + from * 4,
                rstd + from * 4,
                weight,
                centred,
                gain,
                gain + stride);
          }
        });
    if (!sums) {
      return null;
    }
    ReduceLoops reduce = Loops.leaf().reduce();
    double[] total = new double[a.batches * 2 * n];
    for (int b = 0; b < a.batches; b++) {
      reduce.columnTotals(parts + b * blocks * 2 * stride, blocks, 2 * n, total, b * 2 * n);
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
    Parallel.forRange(
        rows,
        groupedGrain(n),
        (begin, end, worker) -> {
          float[] stats = new float[2 * RowLoops.GROUP];
          for (int r = begin; r < end; r += RowLoops.GROUP) {
            int k = Math.min(RowLoops.GROUP, end - r);
            for (int i = 0; i < k; i++) {
              double meanSquare = reduce.sumOfSquares(x + (r + i) * stride, n) / n;
              stats[2 * i + 1] = (float) (1 / Math.sqrt(meanSquare + epsilon));
              Memory.putFloat(rstd + (r + i) * 4L, stats[2 * i + 1]);
            }
            long at = r * stride;
            loops.normalize(x + at, y + at, k, n, stats, weight, weight == 0 ? 0 : zeros);
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
   * @param dx gradient of x; may be the memory of dy
   * @param dweight gradient of the weights [n], or 0
   * @param rows the number of rows
   * @param n row length
   */
  public static void rmsBackward(
      long x, long dy, long weight, long rstd, long dx, long dweight, int rows, int n) {
    Affine a = Affine.of(rows, n, weight, 0);
    double[] total = run(x, dy, dx, 0, rstd, a, false, dweight != 0);
    if (total != null) {
      for (int j = 0; j < n; j++) {
        Memory.putFloat(dweight + j * 4L, (float) total[j]);
      }
    }
  }
}
