// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.driver.Launch;
import io.sfumato.cuda.memory.Scratch;
import io.sfumato.tensor.DType;

/**
 * The kernels of {@code conv_mma.cu}, {@code conv_simt.cu} and {@code conv_direct.cu}: which tile,
 * how many parts of the sum, which order of weights. All tensors are channels-last, weights
 * row-major.
 */
final class ConvKernels {
  private static final int THREADS = 256;
  private static final int STAGES = 4;
  private static final int MOST_TAPS = 64; // of the kernels that fetch 16 bytes at once
  private static final int MOST_SPLITS = 16;
  private static final int LEAST_DEPTH = 512; // of the sum that a block makes a part of
  private static final long MOST_PARTS = 256L << 20; // bytes

  private final Gpu gpu;
  private final Convolution c;
  private final String type;
  private final boolean simt;

  ConvKernels(Gpu gpu, Convolution c) {
    this.gpu = gpu;
    this.c = c;
    type = Types.suffix(c.dtype());
    simt = c.dtype() == DType.F32;
  }

  /** A tile of a result, and into how many parts its sum is split. */
  private record Plan(String tile, int rows, int columns, long tiles, int splits) {
    /** With the number of blocks that {@code groups} tiles of tiles, and parts, come to. */
    static Plan of(String name, int bm, int bn, long m, long n, long groups) {
      return new Plan(name, bm, bn, Math.ceilDiv(m, bm) * Math.ceilDiv(n, bn) * groups, 1);
    }

    Plan split(long wanted, long most) {
      long splits = Math.max(1, Math.min(wanted / Math.max(1, tiles), most));
      return new Plan(tile, rows, columns, tiles, (int) splits);
    }

    long blocks() {
      return tiles * splits;
    }
  }

  /** Whether channels come in groups too small for a matrix product. */
  private boolean direct() {
    return c.dtype() == DType.F64
        || c.groups() > 1 && Math.min(c.inPerGroup(), c.outPerGroup()) < 8
        || (long) c.groups() * c.phases() > 65535;
  }

  /** {@code y = x * w + bias}; no bias if 0. */
  void forward(long x, long w, long bias, long y) {
    if (direct()) {
      directGather(x, w, bias, y, false);
      return;
    }
    try (Scratch packed = gpu.scratch(packedBytes())) {
      long ordered = tapsFirst(w, packed.address());
      gather(x, ordered, bias, y, false);
    }
  }

  /** {@code dx} from the gradient of y. */
  void backwardInput(long dy, long w, long dx) {
    if (direct()) {
      directGather(dy, w, 0, dx, true);
      return;
    }
    try (Scratch packed = gpu.scratch(packedBytes())) {
      int columns = c.inPerGroup() * c.taps();
      transpose(w, packed.address(), c.groups(), c.outPerGroup(), columns);
      gather(dy, packed.address(), 0, dx, true);
    }
  }

  /** {@code dw} from the gradient of y. */
  void backwardWeight(long dy, long x, long dw) {
    if (direct()) {
      long warps = (long) c.out() * c.inPerGroup() * c.taps();
      gpu.kernel("conv_direct", "conv_direct_weight_" + type)
          .grid(Math.min(Math.ceilDiv(warps, THREADS / 32), 1 << 20))
          .block(THREADS)
          .pointer(dy)
          .pointer(x)
          .pointer(dw)
          .ints(c.walk(false, 1))
          .run();
      return;
    }
    int width = c.taps() * c.inPerGroup();
    long weights = (long) c.out() * width;
    Plan plan = weightPlan(aligned(c.inPerGroup(), x) && aligned(c.outPerGroup(), dy), width);
    try (Scratch parts = gpu.scratch(4L * plan.splits() * weights)) {
      launch("conv_weight_", plan, c.groups(), Math.ceilDiv(c.outPerGroup(), plan.rows()), width)
          .pointer(dy)
          .pointer(x)
          .pointer(parts.address())
          .ints(c.walk(false, plan.splits()))
          .run();
      gpu.kernel("conv_direct", "conv_sum_weight_" + type)
          .grid(blocks(weights))
          .block(THREADS)
          .pointer(parts.address())
          .pointer(dw)
          .i64(weights)
          .i32(plan.splits())
          .i32(c.taps())
          .i32(c.inPerGroup())
          .run();
    }
  }

  // ---- matrix products

  private void gather(long from, long w, long bias, long to, boolean gradient) {
    int n = gradient ? c.inPerGroup() : c.outPerGroup();
    int channels = gradient ? c.outPerGroup() : c.inPerGroup();
    int phases = gradient ? c.phases() : 1;
    int taps = gradient ? c.tapsOfPhase() : c.taps();
    long pixels = gradient ? c.inPixels() : c.outPixels();
    long rows = gradient ? rowsOfPhase() : pixels;
    boolean wide = taps <= MOST_TAPS && aligned(channels, from) && w % 16 == 0;
    Plan plan =
        gatherPlan(wide, rows, n, (long) c.groups() * phases, (long) taps * channels, pixels * n);
    long total = pixels * n * c.groups();
    try (Scratch parts = gpu.scratch(plan.splits() > 1 ? 4 * plan.splits() * total : 0)) {
      launch("conv_gather_", plan, c.groups() * phases, Math.ceilDiv(rows, plan.rows()), n)
          .pointer(from)
          .pointer(w)
          .pointer(bias)
          .pointer(to)
          .pointer(plan.splits() > 1 ? parts.address() : 0)
          .ints(c.walk(gradient, plan.splits()))
          .run();
      if (plan.splits() > 1) {
        gpu.kernel("conv_direct", "conv_sum_" + type)
            .grid(blocks(total))
            .block(THREADS)
            .pointer(parts.address())
            .pointer(bias)
            .pointer(to)
            .i64(total)
            .i32(plan.splits())
            .i32(n * c.groups())
            .run();
      }
    }
  }

  /** The most rows a phase has. */
  private long rowsOfPhase() {
    long rows = c.images();
    for (int a = 0; a < 3; a++) {
      rows *= Math.ceilDiv(c.from().get(a), c.stride().get(a));
    }
    return rows;
  }

  private Launch launch(String kind, Plan plan, int groups, long rowTiles, int columns) {
    Launch launch =
        gpu.kernel(simt ? "conv_simt" : "conv_mma", kind + plan.tile() + "_" + type)
            .grid(rowTiles * Math.ceilDiv(columns, plan.columns()), groups, plan.splits());
    return simt
        ? launch.block(THREADS)
        : launch.block(128).shared(STAGES * (plan.rows() + plan.columns()) * 32 * 2);
  }

  /** The largest tile that, its sum split if it is long, keeps all multiprocessors at work. */
  private Plan gatherPlan(boolean wide, long m, int n, long groups, long depth, long outputs) {
    if (!wide) {
      return split(Plan.of("narrow", 64, 64, m, n, groups), depth, outputs * c.groups());
    }
    if (!simt && n <= 32) {
      return split(Plan.of("128x32", 128, 32, m, n, groups), depth, outputs * c.groups());
    }
    Plan plan = Plan.of("64x64", 64, 64, m, n, groups);
    if (n > 64) {
      plan = larger(plan, Plan.of("128x128", 128, 128, m, n, groups), depth, outputs);
    }
    if (!simt && plan.rows() < 128) {
      plan = larger(plan, Plan.of("128x64", 128, 64, m, n, groups), depth, outputs);
    }
    return split(plan, depth, outputs * c.groups());
  }

  private Plan larger(Plan small, Plan large, long depth, long outputs) {
    return split(large, depth, outputs * c.groups()).blocks() >= gpu.multiprocessors()
        ? large
        : small;
  }

  private Plan split(Plan plan, long depth, long outputs) {
    if (plan.tiles() >= gpu.multiprocessors()) {
      return plan;
    }
    long most = Math.min(Math.min(MOST_SPLITS, depth / LEAST_DEPTH), MOST_PARTS / (4 * outputs));
    return plan.split(2L * gpu.multiprocessors(), most);
  }

  private Plan weightPlan(boolean wide, int width) {
    int n = c.outPerGroup();
    Plan small = Plan.of(wide ? "64x64" : "narrow", 64, 64, n, width, c.groups());
    boolean large = wide && n > 64 && width > 64;
    Plan plan = large ? Plan.of("128x128", 128, 128, n, width, c.groups()) : small;
    long most = Math.min(c.outPixels() / LEAST_DEPTH, MOST_PARTS / (4L * c.out() * width));
    plan = plan.split(2L * gpu.multiprocessors(), most);
    return large && plan.blocks() < gpu.multiprocessors()
        ? small.split(2L * gpu.multiprocessors(), most)
        : plan;
  }

  /** Whether runs of these channels can be fetched 16 bytes at once. */
  private boolean aligned(int channels, long address) {
    return channels * c.dtype().bytes() % 16 == 0 && address % 16 == 0;
  }

  private void directGather(long from, long w, long bias, long to, boolean gradient) {
    gpu.kernel("conv_direct", "conv_direct_gather_" + type)
        .grid(blocks(gradient ? c.inPixels() * c.in() : c.outPixels() * c.out()))
        .block(THREADS)
        .pointer(from)
        .pointer(w)
        .pointer(bias)
        .pointer(to)
        .ints(c.walk(gradient, 1))
        .i32(gradient ? 1 : 0)
        .run();
  }

  private static long blocks(long elements) {
    return Math.min(Math.ceilDiv(elements, THREADS), 1 << 20);
  }

  // ---- weights

  long packedBytes() {
    return (long) c.out() * c.inPerGroup() * c.taps() * c.dtype().bytes();
  }

  /**
   * The weights as [out, taps, in/groups]: w itself if they lie so, else put to {@code packed}.
   *
   * @return where they are
   */
  long tapsFirst(long w, long packed) {
    if (c.taps() == 1 || c.inPerGroup() == 1) {
      return w;
    }
    transpose(w, packed, c.out(), c.inPerGroup(), c.taps());
    return packed;
  }

  /** {@code to [batch, columns, rows] = from [batch, rows, columns]}. */
  void transpose(long from, long to, int batch, int rows, int columns) {
    if (columns < 32) {
      int some = Math.min(rows, 16384 / (columns * c.dtype().bytes()));
      gpu.kernel("conv_direct", "conv_transpose_narrow_" + type)
          .grid(Math.ceilDiv(rows, some), batch)
          .block(THREADS)
          .shared(some * columns * c.dtype().bytes())
          .pointer(from)
          .pointer(to)
          .i32(rows)
          .i32(columns)
          .i32(some)
          .run();
      return;
    }
    gpu.kernel("conv_direct", "conv_transpose_" + type)
        .grid((long) Math.ceilDiv(rows, 32) * Math.ceilDiv(columns, 32), batch)
        .block(32, 8)
        .pointer(from)
        .pointer(to)
        .i32(rows)
        .i32(columns)
        .run();
  }
}
