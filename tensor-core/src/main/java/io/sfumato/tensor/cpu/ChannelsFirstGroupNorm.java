// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.GroupNormKernel.Problem;

/**
 * One call of {@link GroupNormKernel} over [batch, channels, spatial]: a group is contiguous. Its
 * moments are taken around a {@link Pilot}.
 */
final class ChannelsFirstGroupNorm {
  private final ChannelLoops loops = Loops.leaf().channels();
  private final Problem p;
  private final long x;
  private final long weight;
  private final long bias;
  private final long mean;
  private final long rstd;
  private final long plane;

  ChannelsFirstGroupNorm(Problem problem, long x, long weight, long bias, long mean, long rstd) {
    this.p = problem;
    this.x = x;
    this.weight = weight;
    this.bias = bias;
    this.mean = mean;
    this.rstd = rstd;
    this.plane = p.spatial() * 4L;
  }

  void forward(long y, double epsilon) {
    forGroups((i, at) -> forwardGroup(i, at, y, epsilon));
  }

  private void forwardGroup(int i, long at, long y, double epsilon) {
    long n = (long) p.perGroup() * p.spatial();
    double[] part = new double[2];
    double[] sums = new double[2];
    float pilot = Pilot.of(x + at, n);
    around(x + at, n, pilot, part, sums);
    if (!Pilot.serves(sums[0], sums[1], n)) {
      pilot = (float) (pilot + sums[0] / n);
      around(x + at, n, pilot, part, sums);
    }
    float m = (float) (pilot + sums[0] / n);
    double squares = Math.max(0, sums[1] - sums[0] * sums[0] / n);
    float r = (float) (1 / Math.sqrt(squares / n + epsilon));
    Memory.putFloat(mean + i * 4L, m);
    Memory.putFloat(rstd + i * 4L, r);
    for (int c = 0; c < p.perGroup(); c++) {
      int channel = i % p.groups() * p.perGroup() + c;
      long o = at + c * plane;
      float scale = r * weight(channel);
      loops.planeMap(x + o, y + o, p.spatial(), m, scale, bias(channel), p.silu());
    }
  }

  /** {@code Σ (x - c)} and {@code Σ (x - c)²} of a group. */
  private void around(long group, long n, float c, double[] part, double[] sums) {
    sums[0] = 0;
    sums[1] = 0;
    for (long k = 0; k < n; k += Loops.CHUNK) {
      loops.planeDeviations(group + k * 4, (int) Math.min(Loops.CHUNK, n - k), c, part);
      sums[0] += part[0];
      sums[1] += part[1];
    }
  }

  void backward(long dy, long dx, long dweight, long dbias) {
    double[] sums = new double[p.batch() * p.channels() * 2];
    forGroups((i, at) -> backwardGroup(i, at, dy, dx, sums));
    for (int c = 0; c < p.channels(); c++) {
      double w = 0;
      double b = 0;
      for (int n = 0; n < p.batch(); n++) {
        int k = n * p.channels() + c;
        b += sums[2 * k];
        w += sums[2 * k + 1];
      }
      if (dweight != 0) {
        Memory.putFloat(dweight + c * 4L, (float) w);
      }
      if (dbias != 0) {
        Memory.putFloat(dbias + c * 4L, (float) b);
      }
    }
  }

  private void backwardGroup(int i, long at, long dy, long dx, double[] sums) {
    float m = Memory.getFloat(mean + i * 4L);
    float r = Memory.getFloat(rstd + i * 4L);
    int first = i % p.groups() * p.perGroup();
    int image = i / p.groups();
    long dz = p.silu() ? dx : dy;
    double[] part = new double[2];
    double g = 0;
    double gx = 0;
    for (int c = 0; c < p.perGroup(); c++) {
      int channel = first + c;
      long o = at + c * plane;
      float w = weight(channel);
      float b = bias(channel);
      double s1 = 0;
      double s2 = 0;
      for (int k = 0; k < p.spatial(); k += Loops.CHUNK) {
        long from = o + k * 4L;
        int n = Math.min(Loops.CHUNK, p.spatial() - k);
        loops.planeGradientSums(x + from, dy + from, dx + from, n, m, r * w, b, part, p.silu());
        s1 += part[0];
        s2 += part[1] * r;
      }
      int k = image * p.channels() + channel;
      sums[2 * k] = s1;
      sums[2 * k + 1] = s2;
      g += w * s1;
      gx += w * s2;
    }
    float slope = (float) (-gx / p.count() * r * r);
    float constant = (float) (-g / p.count() * r);
    for (int c = 0; c < p.perGroup(); c++) {
      long o = at + c * plane;
      float a = r * weight(first + c);
      loops.planeGradient(x + o, dz + o, dx + o, p.spatial(), m, a, slope, constant);
    }
  }

  private float weight(int channel) {
    return weight == 0 ? 1f : Memory.getFloat(weight + channel * 4L);
  }

  private float bias(int channel) {
    return bias == 0 ? 0f : Memory.getFloat(bias + channel * 4L);
  }

  @FunctionalInterface
  private interface GroupBody {
    void run(int imageAndGroup, long byteOffset);
  }

  private void forGroups(GroupBody body) {
    long size = p.perGroup() * plane;
    Loops.forRows(
        p.batch() * p.groups(),
        p.perGroup() * p.spatial(),
        (begin, end, worker) -> {
          for (int i = begin; i < end; i++) {
            body.run(i, i * size);
          }
        });
  }
}
