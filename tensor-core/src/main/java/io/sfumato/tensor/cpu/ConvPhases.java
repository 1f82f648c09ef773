// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.cpu.Gemm.Matrix;
import java.util.function.IntUnaryOperator;
import java.util.function.LongConsumer;

/**
 * The input gradient of a convolution with stride, which is the transposed convolution, as dense
 * convolutions: input pixels whose places agree modulo the stride see the same taps, so each such
 * phase is a convolution of stride 1 over the output gradient by those taps, and writes every
 * stride-th pixel. Nothing is unfolded, and no product meets a zero.
 */
final class ConvPhases {
  private final Dense dense;
  private final ConvGeometry g;

  ConvPhases(Dense dense, ConvGeometry g) {
    this.dense = dense;
    this.g = g;
  }

  /** How convolutions of stride 1 are computed. */
  interface Dense {
    /** Bytes of an element of images and weights. */
    int elementBytes();

    /** The floats that rearranged weights take the place of. */
    long weightFloats(ConvWindow w);

    /**
     * Rearranges weights.
     *
     * @param from address of the weight of output 0, input 0, source 0
     * @param outStride elements between output channels
     * @param inStride elements between input channels
     * @param sources from a tap of the window to one of the weights
     * @param to address of the rearranged weights
     */
    void pack(
        ConvWindow w, long from, long outStride, long inStride, IntUnaryOperator sources, long to);

    /** Computes the convolution. */
    void run(ConvWindow w, long weights, long x, long bias, long y, ConvTarget target);
  }

  /** In f32 by tiles. */
  record ByTiles(GemmTile tile) implements Dense {
    @Override
    public int elementBytes() {
      return Float.BYTES;
    }

    @Override
    public long weightFloats(ConvWindow w) {
      return ConvForward.weightFloats(tile, w);
    }

    @Override
    public void pack(
        ConvWindow w, long from, long outStride, long inStride, IntUnaryOperator sources, long to) {
      new ConvForward(tile, w, to).packWeights(from, outStride, inStride, sources);
    }

    @Override
    public void run(ConvWindow w, long weights, long x, long bias, long y, ConvTarget target) {
      new ConvForward(tile, w, weights, x, bias, y, target).run();
    }
  }

  /** In bf16 on a matrix unit. */
  record ByHalves(GemmTile tile, HalfUnit unit) implements Dense {
    @Override
    public int elementBytes() {
      return Short.BYTES;
    }

    @Override
    public long weightFloats(ConvWindow w) {
      return HalfConv.weightFloats(w);
    }

    @Override
    public void pack(
        ConvWindow w, long from, long outStride, long inStride, IntUnaryOperator sources, long to) {
      Matrix weights = new Matrix(from, inStride, outStride, 0, DType.BF16);
      new HalfConv(tile, unit, w, to).packWeights(weights, sources);
    }

    @Override
    public void run(ConvWindow w, long weights, long x, long bias, long y, ConvTarget target) {
      new HalfConv(tile, unit, w, weights).run(x, bias, y, target);
    }
  }

  /** Whether phases serve. More of them mean smaller products, so larger strides are left alone. */
  static boolean serve(ConvGeometry g) {
    return g.strideH() <= 2
        && g.strideW() <= 2
        && g.dilationH() == 1
        && g.dilationW() == 1
        && g.groups() == 1;
  }

  /**
   * Along one axis, the pixels {@code first + i stride}: what they see, and by which taps.
   *
   * @param first the first pixel of the phase
   * @param pixels how many there are
   * @param taps the taps {@code tap + k stride} that it sees
   * @param tap the first of them
   * @param padding rows of zeros before the gradient as the phase's window begins
   */
  private record Axis(int first, int pixels, int taps, int tap, int padding) {
    static Axis of(int phase, int stride, int size, int kernel, int padding) {
      int first = Math.floorMod(phase - padding, stride);
      int pixels = first < size ? (size - first - 1) / stride + 1 : 0;
      int taps = phase < kernel ? (kernel - phase - 1) / stride + 1 : 0;
      // pixel first + i stride meets tap phase + k stride in row i - k + (first + padding - phase)
      // / stride
      return new Axis(first, pixels, taps, phase, taps - 1 - (first + padding - phase) / stride);
    }

    boolean isEmpty() {
      return pixels == 0 || taps == 0;
    }

    /** The tap of the weights that the window's tap {@code t} is: they come in reverse order. */
    int source(int t, int stride) {
      return tap + (taps - 1 - t) * stride;
    }
  }

  private Axis rows(int phase) {
    return Axis.of(phase, g.strideH(), g.inH(), g.kH(), g.padTop());
  }

  private Axis columns(int phase) {
    return Axis.of(phase, g.strideW(), g.inW(), g.kW(), g.padLeft());
  }

  /** The convolution that a phase is. */
  private ConvWindow window(Axis h, Axis v) {
    return new ConvWindow(
        g.batch(), g.outC(), g.outH(), g.outW(), g.inC(), h.pixels, v.pixels, h.taps, v.taps, 1, 1,
        h.padding, v.padding, 1, 1, 1);
  }

  /** Sees one phase that is not empty. */
  @FunctionalInterface
  private interface Phase {
    void accept(Axis h, Axis v, ConvWindow w, long weights);
  }

  private void forEach(long weights, Phase body) {
    long to = weights;
    for (int a = 0; a < g.strideH(); a++) {
      for (int b = 0; b < g.strideW(); b++) {
        Axis h = rows(a);
        Axis v = columns(b);
        if (!h.isEmpty() && !v.isEmpty()) {
          ConvWindow w = window(h, v);
          body.accept(h, v, w, to);
          to += 4 * dense.weightFloats(w);
        }
      }
    }
  }

  /** The floats of all phases' rearranged weights. */
  long weightFloats() {
    long[] floats = {0};
    forEach(0, (h, v, w, to) -> floats[0] = to / 4 + dense.weightFloats(w));
    return floats[0];
  }

  /**
   * Rearranges the weights.
   *
   * @param from address of the weights {@code [outC, inC, kH, kW]}
   * @param to address of {@link #weightFloats} floats
   */
  void packWeights(long from, long to) {
    int taps = g.kH() * g.kW();
    forEach(
        to,
        (h, v, w, weights) ->
            dense.pack(
                w,
                from,
                taps,
                (long) g.inC() * taps,
                t -> h.source(t / v.taps, g.strideH()) * g.kW() + v.source(t % v.taps, g.strideW()),
                weights));
  }

  /** What tells packed weights of one tensor apart. */
  private record Packing(int strideH, int strideW, int kH, long weight) {}

  /**
   * Address of rearranged weights, from a cache if it keeps them.
   *
   * @param cache where they may be kept
   * @param weight address of the weights, by which they are known
   * @param pack rearranges them to an address
   */
  long packed(PackedWeights.Cache cache, long weight, LongConsumer pack) {
    Packing key = new Packing(g.strideH(), g.strideW(), g.kH(), weight);
    return cache.packed(key, weightFloats(), pack);
  }

  /**
   * Rearranges weights and computes all phases.
   *
   * @param cache where the rearranged weights may be kept
   * @param weight address of the weights {@code [outC, inC, kH, kW]}
   * @param dy address of the output gradient
   * @param dx address of the result
   */
  void run(PackedWeights.Cache cache, long weight, long dy, long dx) {
    run(packed(cache, weight, to -> packWeights(weight, to)), dy, 0, dx);
  }

  /**
   * Computes all phases.
   *
   * @param weights address of the rearranged weights
   * @param dy address of the output gradient
   * @param bias address of {@code inC} floats that are added to each pixel, or 0
   * @param dx address of the result
   */
  void run(long weights, long dy, long bias, long dx) {
    long row = (long) g.inW() * g.inC();
    long image = g.inH() * row;
    if (g.kH() < g.strideH() || g.kW() < g.strideW()) { // some pixels are seen by no tap
      Memory.zero(dx, dense.elementBytes() * g.batch() * image);
    }
    ConvTarget target = new ConvTarget((long) g.strideW() * g.inC(), g.strideH() * row, image);
    forEach(
        weights,
        (h, v, w, packed) -> {
          long first = h.first * row + (long) v.first * g.inC();
          dense.run(w, packed, dy, bias, dx + dense.elementBytes() * first, target);
        });
  }
}
