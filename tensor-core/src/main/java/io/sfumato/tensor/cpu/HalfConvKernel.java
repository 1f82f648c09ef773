// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.cpu.Gemm.Matrix;
import io.sfumato.tensor.cpu.PackedWeights.Cache;
import org.jspecify.annotations.Nullable;

/**
 * Convolutions of bfloat16 and their gradients without widened copies, for a processor with a
 * {@link MatrixUnit}; operands lie as those of {@link Conv2dKernel}. What is refused here is
 * computed on copies in f32.
 */
public final class HalfConvKernel {
  private static final DType TYPE = DType.BF16;

  private HalfConvKernel() {}

  /** Which of the three. */
  public enum Pass {
    /** The convolution. */
    FORWARD,
    /** The gradient of the input. */
    BACKWARD_INPUT,
    /** The gradient of the weight. */
    BACKWARD_WEIGHT
  }

  /** Why a case is not taken, or null. */
  public static @Nullable String refuse(ConvGeometry g, Pass pass) {
    return refuse(Loops.tile().unit(), g, pass);
  }

  static @Nullable String refuse(@Nullable MatrixUnit unit, ConvGeometry g, Pass pass) {
    if (unit == null) {
      return "needs a processor with a matrix unit";
    }
    boolean phases = pass == Pass.BACKWARD_INPUT && g.isStrided();
    return g.groups() == 1 && (!phases || ConvPhases.serve(g))
        ? null
        : "needs one group, and for gradients of the input a stride of 1, or of 2 without dilation";
  }

  /**
   * The convolution.
   *
   * @param bias address of {@code outC} floats (f32), or 0
   */
  public static void forward(ConvGeometry g, long x, long weight, Cache cache, long bias, long y) {
    if (g.batch() == 0) {
      return;
    }
    if (Conv2dKernel.pointwise(g)) {
      Gemm.multiply(
          Conv2dKernel.pixels(g),
          g.outC(),
          g.inC(),
          Matrix.rowMajor(x, g.inC(), TYPE),
          Matrix.rowMajor(weight, g.inC(), TYPE).transposed(),
          cache,
          Matrix.rowMajor(y, g.outC(), TYPE),
          bias);
      return;
    }
    long taps = (long) g.kH() * g.kW();
    Matrix w = new Matrix(weight, taps, g.inC() * taps, 0, TYPE);
    convolve(Loops.tile(), unit(), ConvWindow.forward(g), x, w, false, cache, bias, y);
  }

  /** The gradient of the input. */
  public static void backwardInput(ConvGeometry g, long dy, long weight, Cache cache, long dx) {
    if (g.batch() == 0) {
      return;
    }
    if (Conv2dKernel.pointwise(g)) {
      Gemm.multiply(
          Conv2dKernel.pixels(g),
          g.inC(),
          g.outC(),
          Matrix.rowMajor(dy, g.outC(), TYPE),
          Matrix.rowMajor(weight, g.inC(), TYPE),
          cache,
          Matrix.rowMajor(dx, g.inC(), TYPE),
          0);
      return;
    }
    if (g.isStrided()) {
      new ConvPhases(new ConvPhases.ByHalves(Loops.tile(), unit()), g).run(cache, weight, dy, dx);
      return;
    }
    long taps = (long) g.kH() * g.kW();
    Matrix w = new Matrix(weight, g.inC() * taps, taps, 0, TYPE);
    convolve(Loops.tile(), unit(), ConvWindow.inputGradient(g), dy, w, true, cache, 0, dx);
  }

  /** The gradient of the weight. */
  public static void backwardWeight(ConvGeometry g, long x, long dy, long dw) {
    int pixels = Conv2dKernel.pixels(g);
    if (Conv2dKernel.pointwise(g)) {
      Gemm.multiply(
          g.outC(),
          g.inC(),
          pixels,
          Matrix.rowMajor(dy, g.outC(), TYPE).transposed(),
          Matrix.rowMajor(x, g.inC(), TYPE),
          Matrix.rowMajor(dw, g.inC(), TYPE),
          false);
      return;
    }
    if (g.batch() == 0) {
      Memory.zero(dw, (long) Short.BYTES * g.outC() * g.inC() * g.kH() * g.kW());
      return;
    }
    new HalfConvWeightGradient(unit(), ConvWindow.forward(g)).run(x, dy, dw);
  }

  /**
   * Doubles each pixel in both directions.
   *
   * @param rows rows of all images
   * @param columns pixels of a row
   * @param channels elements of a pixel
   * @param x address of the pixels
   * @param y address of {@code [rows, 2, columns, 2, channels]}
   */
  public static void doubled(int rows, int columns, int channels, long x, long y) {
    long pixel = (long) Short.BYTES * channels;
    long row = columns * pixel;
    Parallel.forRange(
        rows,
        Loops.rowGrain(2 * columns * channels),
        (begin, end, worker) -> {
          for (int r = begin; r < end; r++) {
            long to = y + 4 * r * row;
            for (int i = 0; i < columns; i++) {
              long from = x + r * row + i * pixel;
              Memory.copy(from, to + 2 * i * pixel, pixel);
              Memory.copy(from, to + (2 * i + 1) * pixel, pixel);
            }
            Memory.copy(to, to + 2 * row, 2 * row);
          }
        });
  }

  private static MatrixUnit unit() {
    MatrixUnit unit = Loops.tile().unit();
    if (unit == null) {
      throw new IllegalStateException("no matrix unit, but the case was not refused");
    }
    return unit;
  }

  private record Packing(boolean flipped, Matrix weight) {}

  static void convolve(
      GemmTile tile,
      MatrixUnit unit,
      ConvWindow w,
      long x,
      Matrix weight,
      boolean flipped,
      Cache cache,
      long bias,
      long y) {
    long packed =
        cache.packed(
            new Packing(flipped, weight),
            HalfConv.weightFloats(w),
            to -> new HalfConv(tile, unit, w, to).packWeights(weight, flipped));
    new HalfConv(tile, unit, w, packed).run(x, bias, y);
  }
}
