// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.GroupNormKernel.Problem;

/**
 * One call of {@link GroupNormKernel} over [batch, spatial, channels].
 *
 * <p>Pixels are taken {@code period} at a time, so that a "row" of {@code width = period channels}
 * floats is a whole number of vectors and channel parameters repeat with it. Pixels left over at
 * the end of a chunk go through a padded row whose padding adds nothing.
 */
final class ChannelsLastGroupNorm {
  /** Floats and rows of a chunk, at the least: each chunk's sums are added up one by one. */
  private static final int CHUNK = 1 << 15;

  private static final int LEAST_ROWS = 64;

  /** Floats of each operand that two loops pass, the second from the cache. */
  private static final int CACHED = 1 << 14;

  /** Floats of a wide row. */
  private static final int WIDE = 1024;

  /** Rows that are summed in f32 before the sums go on in double. */
  static final int SUMMED_ROWS = 256;

  private final ChannelLoops loops = Loops.leaf().channels();
  private final Problem p;
  private final long x;
  private final long weight;
  private final long bias;
  private final long mean;
  private final long rstd;
  private final int period;
  private final int width;

  /** Rows in one wide row: {@link #parameters} repeat as often, so that loops are long. */
  private final int repeat;

  private final int chunkPixels;
  private final int chunks;
  private final long pixel;

  /**
   * Per image {@code mean}, {@code scale = rstd weight}, {@code bias}, then a, b, c of backward.
   */
  private final long parameters;

  ChannelsLastGroupNorm(Problem problem, long x, long weight, long bias, long mean, long rstd) {
    this.p = problem;
    this.x = x;
    this.weight = weight;
    this.bias = bias;
    this.mean = mean;
    this.rstd = rstd;
    int channels = p.channels();
    this.period = Math.max(1, loops.lanes() / Integer.lowestOneBit(Math.max(1, channels)));
    this.width = Math.multiplyExact(period, channels);
    this.repeat = Math.max(1, WIDE / Math.max(1, width));
    int rows = Math.clamp(p.spatial() / period / 4, LEAST_ROWS, SUMMED_ROWS);
    this.chunkPixels = period * Math.max(rows, CHUNK / Math.max(1, width));
    this.chunks = (p.spatial() + chunkPixels - 1) / chunkPixels;
    this.pixel = channels * 4L;
    this.parameters =
        Scratch.get(Scratch.Slot.PARAMETERS, Math.max(1, p.batch() * 6L * repeat * width * 4));
  }

  private long parameter(int image, int which) {
    return parameters + (image * 6L + which) * repeat * width * 4;
  }

  private long chunkOffset(int image, int chunk) {
    return ((long) image * p.spatial() + (long) chunk * chunkPixels) * pixel;
  }

  private int pixelsOf(int chunk) {
    return Math.min(chunkPixels, p.spatial() - chunk * chunkPixels);
  }

  /** Work on one chunk of one image. */
  @FunctionalInterface
  private interface ChunkBody {
    void run(int image, int chunk);
  }

  /** Work between the two passes over one image. */
  @FunctionalInterface
  private interface ImageBody {
    void run(int image);
  }

  /** Image by image if that keeps all threads busy (the cache holds an image), else by chunks. */
  private void twoPasses(ChunkBody first, ImageBody between, ChunkBody second) {
    int batch = p.batch();
    int threads = Parallel.threads();
    if (batch % threads == 0 || batch >= 4 * threads || chunks == 1) {
      Parallel.forRange(
          batch,
          1,
          (begin, end, worker) -> {
            for (int n = begin; n < end; n++) {
              for (int c = 0; c < chunks; c++) {
                first.run(n, c);
              }
              between.run(n);
              for (int c = 0; c < chunks; c++) {
                second.run(n, c);
              }
            }
          });
      return;
    }
    forAllChunks(first);
    for (int n = 0; n < batch; n++) {
      between.run(n);
    }
    forAllChunks(second);
  }

  private void forAllChunks(ChunkBody body) {
    Parallel.forRange(
        p.batch() * chunks,
        1,
        (begin, end, worker) -> {
          for (int i = begin; i < end; i++) {
            body.run(i / chunks, i % chunks);
          }
        });
  }

  void forward(long y, double epsilon) {
    ChannelsLastMoments moments = new ChannelsLastMoments(p, period, chunks, this::pixelsOf);
    twoPasses(
        (n, c) -> moments.sum(n, c, x + chunkOffset(n, c)),
        n -> {
          moments.finish(n, epsilon, mean, rstd);
          fillParameters(n);
        },
        (n, c) -> map(n, c, y));
  }

  private void fillParameters(int image) {
    for (int g = 0; g < p.groups(); g++) {
      long group = ((long) image * p.groups() + g) * 4;
      float m = Memory.getFloat(mean + group);
      float r = Memory.getFloat(rstd + group);
      for (int c = g * p.perGroup(); c < (g + 1) * p.perGroup(); c++) {
        put(image, 0, c, m);
        put(image, 1, c, r * weight(c));
        put(image, 2, c, bias == 0 ? 0f : Memory.getFloat(bias + c * 4L));
      }
    }
  }

  private float weight(int channel) {
    return weight == 0 ? 1f : Memory.getFloat(weight + channel * 4L);
  }

  private void put(int image, int which, int channel, float value) {
    long at = parameter(image, which) + channel * 4L;
    for (int k = 0; k < period * repeat; k++) {
      Memory.putFloat(at + k * pixel, value);
    }
  }

  /** Work on some rows of some width. */
  @FunctionalInterface
  private interface RowsBody {
    void run(long offset, int rows, int width);
  }

  /** Takes rows as wide ones as far as they go. */
  private void forWideRows(int rows, RowsBody body) {
    int wide = rows / repeat;
    body.run(0, wide, repeat * width);
    if (wide * repeat < rows) {
      body.run((long) wide * repeat * width * 4, 1, (rows - wide * repeat) * width);
    }
  }

  private void map(int image, int chunk, long y) {
    int pixels = pixelsOf(chunk);
    int rows = pixels / period;
    int rest = pixels % period;
    long at = chunkOffset(image, chunk);
    long m = parameter(image, 0);
    long scale = parameter(image, 1);
    long b = parameter(image, 2);
    forWideRows(
        rows, (o, r, w) -> loops.columnMap(x + at + o, y + at + o, r, w, m, scale, b, p.silu()));
    if (rest > 0) {
      long left = at + (long) rows * width * 4;
      long row = Scratch.get(Scratch.Slot.ROW, width * 4L);
      Memory.zero(row, width * 4L);
      Memory.copy(x + left, row, rest * pixel);
      loops.columnMap(row, row, 1, width, m, scale, b, p.silu());
      Memory.copy(row, y + left, rest * pixel);
    }
  }

  void backward(long dy, long dx, long dweight, long dbias) {
    double[] sums = new double[p.batch() * chunks * p.channels() * 2];
    double[] totals = new double[p.batch() * p.channels() * 2];
    for (int n = 0; n < p.batch(); n++) {
      fillParameters(n);
    }
    twoPasses(
        (n, c) -> gradientSums(n, c, dy, dx, sums),
        n -> joinGradients(n, sums, totals),
        (n, c) -> gradient(n, c, p.silu() ? dx : dy, dx));
    for (int c = 0; c < p.channels(); c++) {
      double db = 0;
      double dw = 0;
      for (int n = 0; n < p.batch(); n++) {
        int k = (n * p.channels() + c) * 2;
        db += totals[k];
        dw += totals[k + 1];
      }
      if (dweight != 0) {
        Memory.putFloat(dweight + c * 4L, (float) dw);
      }
      if (dbias != 0) {
        Memory.putFloat(dbias + c * 4L, (float) db);
      }
    }
  }

  /** {@code Σ dz} and {@code Σ dz (x - mean)} of each channel in one chunk; dz goes to dx. */
  private void gradientSums(int image, int chunk, long dy, long dx, double[] sums) {
    int pixels = pixelsOf(chunk);
    int rows = pixels / period;
    int rest = pixels % period;
    long at = chunkOffset(image, chunk);
    long m = parameter(image, 0);
    long scale = parameter(image, 1);
    long b = parameter(image, 2);
    long bytes = width * 4L;
    long s1 = Scratch.get(Scratch.Slot.ROW, 5 * bytes);
    long s2 = s1 + bytes;
    int out = (image * chunks + chunk) * p.channels() * 2;
    int together = Math.max(1, CACHED / Math.max(1, width));
    for (int k = 0; k < rows; k += SUMMED_ROWS) {
      int end = Math.min(rows, k + SUMMED_ROWS);
      Memory.zero(s1, 2 * bytes);
      for (int first = k; first < end; first += together) {
        int some = Math.min(together, end - first);
        long o = at + first * bytes;
        if (p.silu()) {
          forWideRows(
              some,
              (q, r, w) ->
                  loops.columnSiluGradient(x + o + q, dy + o + q, dx + o + q, r, w, m, scale, b));
        }
        loops.columnGradientSums(x + o, p.silu() ? dx + o : dy + o, some, width, m, s1, s2);
      }
      foldChannels(s1, s2, period, sums, out);
    }
    if (rest > 0) {
      long left = at + rows * bytes;
      long xs = s1 + 2 * bytes;
      long dys = s1 + 3 * bytes;
      long dzs = s1 + 4 * bytes;
      Memory.copy(m, xs, bytes);
      Memory.copy(x + left, xs, rest * pixel);
      Memory.zero(dys, bytes);
      Memory.copy(dy + left, dys, rest * pixel);
      if (p.silu()) {
        loops.columnSiluGradient(xs, dys, dzs, 1, width, m, scale, b);
      }
      Memory.zero(s1, 2 * bytes);
      loops.columnGradientSums(xs, p.silu() ? dzs : dys, 1, width, m, s1, s2);
      foldChannels(s1, s2, rest, sums, out);
      if (p.silu()) {
        Memory.copy(dzs, dx + left, rest * pixel);
      }
    }
  }

  private void foldChannels(long s1, long s2, int pixels, double[] sums, int out) {
    for (int k = 0; k < pixels; k++) {
      for (int c = 0; c < p.channels(); c++) {
        long at = (k * p.channels() + c) * 4L;
        sums[out + 2 * c] += Memory.getFloat(s1 + at);
        sums[out + 2 * c + 1] += Memory.getFloat(s2 + at);
      }
    }
  }

  private void joinGradients(int image, double[] sums, double[] totals) {
    int channels = p.channels();
    for (int g = 0; g < p.groups(); g++) {
      long group = ((long) image * p.groups() + g) * 4;
      double r = Memory.getFloat(rstd + group);
      double gradient = 0;
      double gradientTimesX = 0;
      for (int c = g * p.perGroup(); c < (g + 1) * p.perGroup(); c++) {
        double s1 = 0;
        double s2 = 0;
        for (int k = 0; k < chunks; k++) {
          int at = ((image * chunks + k) * channels + c) * 2;
          s1 += sums[at];
          s2 += sums[at + 1];
        }
        totals[(image * channels + c) * 2] = s1;
        totals[(image * channels + c) * 2 + 1] = s2 * r;
        gradient += weight(c) * s1;
        gradientTimesX += weight(c) * s2 * r;
      }
      float slope = (float) (-gradientTimesX / p.count() * r * r);
      float constant = (float) (-gradient / p.count() * r);
      for (int c = g * p.perGroup(); c < (g + 1) * p.perGroup(); c++) {
        put(image, 3, c, (float) (r * weight(c)));
        put(image, 4, c, slope);
        put(image, 5, c, constant);
      }
    }
  }

  private void gradient(int image, int chunk, long dz, long dx) {
    int pixels = pixelsOf(chunk);
    int rows = pixels / period;
    int rest = pixels % period;
    long at = chunkOffset(image, chunk);
    long m = parameter(image, 0);
    long a = parameter(image, 3);
    long b = parameter(image, 4);
    long c = parameter(image, 5);
    forWideRows(
        rows,
        (o, r, w) -> loops.columnGradient(x + at + o, dz + at + o, dx + at + o, r, w, m, a, b, c));
    if (rest > 0) {
      long left = at + (long) rows * width * 4;
      long row = Scratch.get(Scratch.Slot.ROW, 2L * width * 4);
      long second = row + width * 4L;
      Memory.zero(row, 2L * width * 4);
      Memory.copy(x + left, row, rest * pixel);
      Memory.copy(dz + left, second, rest * pixel);
      loops.columnGradient(row, second, second, 1, width, m, a, b, c);
      Memory.copy(second, dx + left, rest * pixel);
    }
  }
}
