// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.Gemm.Matrix;
import io.sfumato.tensor.cpu.PackedWeights.Cache;

/**
 * The f32 2-d convolution (cross-correlation) of the CPU backend and its gradients, on contiguous
 * NHWC images at absolute addresses. Weights are contiguous {@code [outC, inC / groups, kH, kW]}.
 * Results are the same bits for any number of threads. Operands must not overlap results.
 */
public final class Conv2dKernel {
  private static final int BIAS_PARTS = 32;

  private Conv2dKernel() {}

  /**
   * The convolution: for each output pixel the sum over taps and input channels of its group of
   * {@code x * weight}, plus {@code bias}; see {@link ConvGeometry} for which pixel a tap reads.
   *
   * @param g the sizes
   * @param x address of the input {@code [batch, inH, inW, inC]}
   * @param weight address of the weights
   * @param cache where the packed weights may be kept
   * @param bias address of {@code outC} floats, or 0 for none
   * @param y address of the result {@code [batch, outH, outW, outC]}
   */
  public static void forward(ConvGeometry g, long x, long weight, Cache cache, long bias, long y) {
    forward(Simd.provider(), g, x, weight, cache, bias, y);
  }

  static void forward(
      SimdProvider simd, ConvGeometry g, long x, long weight, Cache cache, long bias, long y) {
    if (g.batch() == 0) {
      return;
    }
    if (pointwise(g)) {
      Gemm.multiply(
          simd.gemmTile(),
          pixels(g),
          g.outC(),
          g.inC(),
          Matrix.rowMajor(x, g.inC()),
          Matrix.rowMajor(weight, g.inC()).transposed(),
          cache,
          Matrix.rowMajor(y, g.outC()),
          bias);
      return;
    }
    long taps = (long) g.kH() * g.kW();
    convolve(
        simd, ConvWindow.forward(g), x, weight, g.groupInC() * taps, taps, false, cache, bias, y);
  }

  /**
   * The gradient with respect to the input, {@code dX}: the transposed convolution of {@code dY}.
   *
   * @param g the sizes of the forward convolution
   * @param dy address of the output gradient {@code [batch, outH, outW, outC]}
   * @param weight address of the weights
   * @param cache where the packed weights may be kept
   * @param dx address of the result {@code [batch, inH, inW, inC]}
   */
  public static void backwardInput(ConvGeometry g, long dy, long weight, Cache cache, long dx) {
    backwardInput(Simd.provider(), g, dy, weight, cache, dx);
  }

  static void backwardInput(
      SimdProvider simd, ConvGeometry g, long dy, long weight, Cache cache, long dx) {
    if (g.batch() == 0) {
      return;
    }
    if (pointwise(g)) {
      Gemm.multiply(
          simd.gemmTile(),
          1,
          pixels(g),
          g.inC(),
          g.outC(),
          Matrix.rowMajor(dy, g.outC()),
          Matrix.rowMajor(weight, g.inC()),
          Matrix.rowMajor(dx, g.inC()),
          false,
          0);
    } else if (!g.isStrided()) {
      long taps = (long) g.kH() * g.kW();
      ConvWindow w = ConvWindow.inputGradient(g);
      convolve(simd, w, dy, weight, taps, g.groupInC() * taps, true, cache, 0, dx);
    } else if (ConvPhases.serve(g)) {
      new ConvPhases(new ConvPhases.ByTiles(simd.gemmTile()), g).run(cache, weight, dy, dx);
    } else {
      new ConvInputGradient(simd.gemmTile(), g, dy, weight, dx).run();
    }
  }

  private static void convolve(
      SimdProvider simd,
      ConvWindow w,
      long x,
      long weight,
      long outStride,
      long inStride,
      boolean flipped,
      Cache cache,
      long bias,
      long y) {
    GemmTile tile = simd.gemmTile();
    MatrixUnit unit = tile.unit();
    if (unit != null && SplitConv.serves(w)) {
      long packed =
          cache.packed(
              new Packing(Way.MATRIX_UNIT, flipped, weight, outStride),
              SplitConv.weightFloats(w),
              to ->
                  new SplitConv(tile, unit, w, to)
                      .packWeights(new Matrix(weight, inStride, outStride, 0), flipped));
      if (new SplitConv(tile, unit, w, packed).run(x, bias, y)) {
        return;
      }
    }
    if (WinogradTiles.pay(w)) {
      long packed =
          cache.packed(
              new Packing(Way.WINOGRAD, flipped, weight, outStride),
              WinogradForward.weightFloats(simd, w),
              to ->
                  new WinogradForward(simd, w, to)
                      .packWeights(weight, outStride, inStride, flipped));
      new WinogradForward(simd, w, packed).run(x, bias, y);
    } else {
      long packed =
          cache.packed(
              new Packing(Way.TILES, flipped, weight, outStride),
              ConvForward.weightFloats(tile, w),
              to -> new ConvForward(tile, w, to).packWeights(weight, outStride, inStride, flipped));
      new ConvForward(tile, w, packed, x, bias, y, ConvTarget.dense(w)).run();
    }
  }

  private enum Way {
    MATRIX_UNIT,
    WINOGRAD,
    TILES
  }

  /** What tells packed weights of one tensor apart. */
  private record Packing(Way way, boolean flipped, long weight, long outStride) {}

  /**
   * The gradient with respect to the weights: {@code dW[o, c, kh, kw]} is the sum over all output
   * pixels of {@code dY * x} at that tap.
   *
   * @param g the sizes of the forward convolution
   * @param x address of the input {@code [batch, inH, inW, inC]}
   * @param dy address of the output gradient {@code [batch, outH, outW, outC]}
   * @param dw address of the result {@code [outC, inC / groups, kH, kW]}, overwritten
   */
  public static void backwardWeight(ConvGeometry g, long x, long dy, long dw) {
    backwardWeight(Simd.provider(), g, x, dy, dw);
  }

  static void backwardWeight(SimdProvider simd, ConvGeometry g, long x, long dy, long dw) {
    ConvWindow w = ConvWindow.forward(g);
    if (WinogradTiles.pay(w)) {
      new WinogradWeightGradient(simd, w).run(x, dy, dw);
    } else {
      new ConvWeightGradient(simd.gemmTile(), g, x, dy, dw).run();
    }
  }

  /**
   * The gradient with respect to the bias: {@code dB[o]} is the sum of {@code dY} over all output
   * pixels.
   *
   * @param g the sizes of the forward convolution
   * @param dy address of the output gradient {@code [batch, outH, outW, outC]}
   * @param db address of the result, {@code outC} floats, overwritten
   */
  public static void backwardBias(ConvGeometry g, long dy, long db) {
    columnSums(pixels(g), g.outC(), dy, db);
  }

  /**
   * The sums of the columns of a contiguous matrix, {@code sums[j] = sum over i of a[i, j]}, added
   * in an order that depends on the sizes alone.
   *
   * @param rows the number of rows
   * @param columns the number of columns
   * @param a address of the matrix
   * @param sums address of the result, {@code columns} floats, overwritten
   */
  public static void columnSums(int rows, int columns, long a, long sums) {
    columnSums(Simd.provider().gemmTile(), rows, columns, a, sums);
  }

  static void columnSums(GemmTile tile, int rows, int columns, long a, long sums) {
    int parts = Math.clamp(rows / 64, 1, BIAS_PARTS);
    long partials = Scratch.get(Scratch.Slot.PARTIAL_SUMS, 4L * parts * columns);
    Memory.zero(partials, 4L * parts * columns);
    Parallel.forRange(
        parts,
        (long) rows * columns < 1 << 15 ? parts : 1,
        (begin, end, worker) -> {
          for (int part = begin; part < end; part++) {
            int first = (int) ((long) part * rows / parts);
            int last = (int) ((long) (part + 1) * rows / parts);
            long to = partials + 4L * part * columns;
            long from = a + 4L * first * columns;
            tile.addRows(last - first, columns, from, columns, to, 0);
          }
        });
    Memory.zero(sums, 4L * columns);
    tile.addRows(parts, columns, partials, columns, sums, 0);
  }

  static boolean pointwise(ConvGeometry g) {
    return g.kH() == 1
        && g.kW() == 1
        && !g.isStrided()
        && g.groups() == 1
        && g.outH() == g.inH()
        && g.outW() == g.inW();
  }

  static int pixels(ConvGeometry g) {
    return Math.multiplyExact(g.batch(), Math.multiplyExact(g.outH(), g.outW()));
  }
}
