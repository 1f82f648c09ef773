// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.Gemm.Matrix;

/**
 * The input gradient of a convolution with stride: for each tap the product of the output gradient
 * with the weights of the tap, then for each input pixel the sum over the taps that saw it. (With
 * stride 1 it is a convolution itself, see {@link ConvWindow#inputGradient}.)
 */
final class ConvInputGradient {
  /** Floats of products held at a time. */
  private static final long CHUNK_FLOATS = 8L << 20;

  private final GemmTile tile;
  private final ConvGeometry g;
  private final long dy;
  private final long weight;
  private final long dx;

  ConvInputGradient(GemmTile tile, ConvGeometry g, long dy, long weight, long dx) {
    this.tile = tile;
    this.g = g;
    this.dy = dy;
    this.weight = weight;
    this.dx = dx;
  }

  void run() {
    long perImage = (long) g.outH() * g.outW() * g.kH() * g.kW() * g.inC();
    int chunk = (int) Math.clamp(CHUNK_FLOATS / perImage, 1, Math.max(1, g.batch()));
    for (int first = 0; first < g.batch(); first += chunk) {
      images(first, Math.min(chunk, g.batch() - first));
    }
  }

  private void images(int first, int count) {
    int taps = g.kH() * g.kW();
    int channels = g.groupInC();
    int pixels = count * g.outH() * g.outW();
    long pixelFloats = (long) taps * g.inC();
    long products = Scratch.get(Scratch.Slot.COLUMNS, 4 * pixels * pixelFloats);
    long out = dy + 4L * first * g.outH() * g.outW() * g.outC();
    for (int group = 0; group < g.groups(); group++) {
      // products[pixel, tap, channel] = sum over o of dy[pixel, o] * weight[o, channel, tap]
      long filters = weight + 4L * group * g.groupOutC() * channels * taps;
      Gemm.multiply(
          tile,
          taps,
          pixels,
          channels,
          g.groupOutC(),
          new Matrix(out + 4L * group * g.groupOutC(), g.outC(), 1, 0),
          new Matrix(filters, (long) channels * taps, taps, 1),
          new Matrix(products + 4L * group * channels, pixelFloats, 1, g.inC()),
          false,
          0);
    }
    Parallel.forRange(
        count * g.inH(),
        4,
        (begin, end, worker) -> {
          for (int i = begin; i < end; i++) {
            gather(first, i / g.inH(), i % g.inH(), products, pixelFloats);
          }
        });
  }

  /** One row of the input gradient, its taps added in a fixed order. */
  private void gather(int first, int image, int row, long products, long pixelFloats) {
    long to = dx + 4L * ((long) (first + image) * g.inH() + row) * g.inW() * g.inC();
    Memory.zero(to, 4L * g.inW() * g.inC());
    for (int kh = 0; kh < g.kH(); kh++) {
      int down = row + g.padTop() - kh * g.dilationH();
      int oh = Math.floorDiv(down, g.strideH());
      if (Math.floorMod(down, g.strideH()) != 0 || oh < 0 || oh >= g.outH()) {
        continue;
      }
      for (int kw = 0; kw < g.kW(); kw++) {
        // iw = ow * strideW + shift must lie in [0, inW)
        int shift = kw * g.dilationW() - g.padLeft();
        int begin = Math.max(0, Math.ceilDiv(-shift, g.strideW()));
        int end = Math.min(g.outW(), Math.floorDiv(g.inW() - 1 - shift, g.strideW()) + 1);
        if (begin < end) {
          long pixel = ((long) image * g.outH() + oh) * g.outW() + begin;
          long from = products + 4 * (pixel * pixelFloats + (long) (kh * g.kW() + kw) * g.inC());
          tile.addRows(
              end - begin,
              g.inC(),
              from,
              pixelFloats,
              to + 4L * (begin * g.strideW() + shift) * g.inC(),
              (long) g.strideW() * g.inC());
        }
      }
    }
  }
}
