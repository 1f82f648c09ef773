// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.GroupNormKernel.Problem;
import java.util.Arrays;
import java.util.function.IntUnaryOperator;

/**
 * Means and factors of groups of channels over [batch, spatial, channels], chunk by chunk, around a
 * {@link Pilot} for each group.
 */
final class ChannelsLastMoments {
  /**
   * Floats of a row from which the pilot is a guess. A chunk of shorter rows stays in the cache,
   * where finding the mean first takes hardly more time.
   */
  private static final int ONE_PASS = 256;

  private final ChannelLoops loops = Loops.leaf().channels();
  private final Problem p;
  private final int period;
  private final int width;
  private final int chunks;
  private final IntUnaryOperator pixelsOf;
  private final double[] sums; // of a chunk and group: sum, centred sum of squares

  /**
   * Prepares the moments.
   *
   * @param period pixels of a row of the loops
   * @param chunks chunks of an image
   * @param pixelsOf pixels of a chunk
   */
  ChannelsLastMoments(Problem problem, int period, int chunks, IntUnaryOperator pixelsOf) {
    p = problem;
    this.period = period;
    this.width = period * p.channels();
    this.chunks = chunks;
    this.pixelsOf = pixelsOf;
    sums = new double[p.batch() * chunks * p.groups() * 2];
  }

  /** Sums one chunk, which begins at address {@code x}. */
  void sum(int image, int chunk, long x) {
    int groups = p.groups();
    int pixels = pixelsOf.applyAsInt(chunk);
    long count = (long) pixels * p.perGroup();
    double[] pilot = new double[groups];
    double[] s = new double[groups];
    double[] q = new double[groups];
    boolean guessed = width >= ONE_PASS;
    double values = guessed ? addTwoPixels(x, pixels, pilot) : addAll(x, pixels, pilot);
    for (int g = 0; g < groups; g++) {
      pilot[g] = (float) (pilot[g] / values);
    }
    around(x, pixels, pilot, s, q);
    boolean serves = true;
    for (int g = 0; g < groups; g++) {
      serves &= Pilot.serves(s[g], q[g], count);
    }
    if (guessed && !serves) { // once more, around the means that were found
      for (int g = 0; g < groups; g++) {
        pilot[g] = (float) (pilot[g] + s[g] / count);
      }
      around(x, pixels, pilot, s, q);
    }
    int out = (image * chunks + chunk) * groups * 2;
    for (int g = 0; g < groups; g++) {
      sums[out + 2 * g] = count * pilot[g] + s[g];
      sums[out + 2 * g + 1] = q[g] - s[g] * s[g] / count;
    }
  }

  /** Adds the first pixel and the one in the middle; returns how many values of a group. */
  private double addTwoPixels(long x, int pixels, double[] sum) {
    addPixel(x, sum);
    addPixel(x + pixels / 2 * p.channels() * 4L, sum);
    return 2.0 * p.perGroup();
  }

  /** Adds all pixels; returns how many values of a group. */
  private double addAll(long x, int pixels, double[] sum) {
    int rows = pixels / period;
    long columns = Scratch.get(Scratch.Slot.ROW, width * 4L);
    loops.columnSums(x, rows, width, columns);
    fold(columns, period, sum);
    fold(x + rows * width * 4L, pixels % period, sum);
    return (double) pixels * p.perGroup();
  }

  /** {@code Σ (x - pilot)} and {@code Σ (x - pilot)²} of each group. */
  private void around(long x, int pixels, double[] pilot, double[] s, double[] q) {
    int rows = pixels / period;
    int rest = pixels % period;
    long bytes = width * 4L;
    long row = Scratch.get(Scratch.Slot.ROW, 4 * bytes);
    long pilots = row + bytes;
    long d1 = row + 2 * bytes;
    long d2 = row + 3 * bytes;
    Arrays.fill(s, 0);
    Arrays.fill(q, 0);
    for (int i = 0; i < period * p.groups(); i++) {
      float value = (float) pilot[i % p.groups()];
      for (int c = 0; c < p.perGroup(); c++) {
        Memory.putFloat(pilots + ((long) i * p.perGroup() + c) * 4, value);
      }
    }
    for (int k = 0; k < rows; k += ChannelsLastGroupNorm.SUMMED_ROWS) {
      int some = Math.min(ChannelsLastGroupNorm.SUMMED_ROWS, rows - k);
      loops.columnDeviations(x + k * bytes, some, width, pilots, d1, d2);
      fold(d1, period, s);
      fold(d2, period, q);
    }
    if (rest > 0) { // what it is filled up with deviates by nothing
      Memory.copy(pilots, row, bytes);
      Memory.copy(x + rows * bytes, row, rest * p.channels() * 4L);
      loops.columnDeviations(row, 1, width, pilots, d1, d2);
      fold(d1, rest, s);
      fold(d2, rest, q);
    }
  }

  /** Adds {@code pixels} pixels of channel values to sums per group. */
  private void fold(long values, int pixels, double[] sum) {
    for (int k = 0; k < pixels; k++) {
      addPixel(values + (long) k * p.channels() * 4, sum);
    }
  }

  private void addPixel(long values, double[] sum) {
    int perGroup = p.perGroup();
    long at = values;
    for (int g = 0; g < sum.length; g++) {
      double even = 0;
      double odd = 0;
      int c = 0;
      for (; c < perGroup - 1; c += 2) {
        even += Memory.getFloat(at + c * 4L);
        odd += Memory.getFloat(at + c * 4L + 4);
      }
      if (c < perGroup) {
        even += Memory.getFloat(at + c * 4L);
      }
      sum[g] += even + odd;
      at += perGroup * 4L;
    }
  }

  /** Joins the chunks of an image and stores mean and {@code 1/√(variance + ε)} of each group. */
  void finish(int image, double epsilon, long mean, long rstd) {
    int groups = p.groups();
    for (int g = 0; g < groups; g++) {
      double sum = 0;
      for (int c = 0; c < chunks; c++) {
        sum += sums[((image * chunks + c) * groups + g) * 2];
      }
      double m = sum / p.count();
      double squares = 0;
      for (int c = 0; c < chunks; c++) {
        int at = ((image * chunks + c) * groups + g) * 2;
        double count = (double) pixelsOf.applyAsInt(c) * p.perGroup();
        double d = sums[at] / count - m;
        squares += sums[at + 1] + count * d * d;
      }
      long out = ((long) image * groups + g) * 4;
      Memory.putFloat(mean + out, (float) m);
      double variance = Math.max(0, squares / p.count());
      Memory.putFloat(rstd + out, (float) (1 / Math.sqrt(variance + epsilon)));
    }
  }
}
