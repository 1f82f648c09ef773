// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.driver.Launch;
import io.sfumato.cuda.memory.Scratch;
import io.sfumato.tensor.DType;

/**
 * The kernels of {@code conv_mma.cu}, {@code conv_tf32.cu}, {@code conv_simt.cu} and {@code
 * conv_direct.cu}: which tile, how many parts of the sum, which order of weights. All tensors are
 * channels-last, weights row-major.
 */
final class ConvKernels {
  private static final String NARROW = "narrow"; // the tile that is fetched value by value
  private static final int THREADS = 256;
  private static final int STAGES = 4;
  private static final int MOST_TAPS = 64; // of the kernels that fetch 16 bytes at once
  private static final int MOST_SPLITS = 16;
  private static final int LEAST_DEPTH = 512; // of the sum that a block makes a part of
  private static final long MOST_PARTS = 256L << 20; // bytes

  private final Gpu gpu;
  private final Convolution c;
  private final String type;
  private final boolean tf32;

  /** For one convolution; {@code tf32} says whether f32 may be rounded to that. */
  ConvKernels(Gpu gpu, Convolution c, boolean tf32) {
    this.gpu = gpu;
    this.c = c;
    type = Types.suffix(c.dtype());
    this.tf32 = tf32;
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
  void forward(long x, ConvWeights w, long bias, long y) {
    if (direct()) {
      directGather(x, w.rowMajor(), bias, y, false);
    } else {
      gather(x, w.tapsFirst(), bias, y, false);
    }
  }

  /** {@code dx} from the gradient of y. */
  void backwardInput(long dy, ConvWeights w, long dx) {
    if (direct()) {
      directGather(dy, w.rowMajor(), 0, dx, true);
    } else {
      gather(dy, w.inputsFirst(), 0, dx, true);
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
    boolean wide = !plan.tile().equals(NARROW);
    long blocks = rowTiles * Math.ceilDiv(columns, plan.columns());
    if (!tensorCores(wide)) {
      return gpu.kernel("conv_simt", kind + plan.tile() + "_" + type)
          .grid(blocks, groups, plan.splits())
          .block(THREADS);
    }
    boolean rounded = c.dtype() == DType.F32;
    if (rounded) {
      ConvPrecision.tell();
    }
    String name = kind + plan.tile() + "_" + (rounded ? "tf32" : type);
    return gpu.kernel(rounded ? "conv_tf32" : "conv_mma", name)
        .grid(blocks, groups, plan.splits())
        .block(128)
        .shared(STAGES * (plan.rows() + plan.columns()) * 64);
  }

  private boolean tensorCores(boolean wide) {
    return c.dtype() != DType.F32 || tf32 && wide;
  }

  /** The largest tile that, its sum split if it is long, keeps all multiprocessors at work. */
  private Plan gatherPlan(boolean wide, long m, int n, long groups, long depth, long outputs) {
    if (!wide) {
      return split(Plan.of(NARROW, 64, 64, m, n, groups), depth, outputs * c.groups());
    }
    if (tensorCores(true) && n <= 32) {
      return split(Plan.of("128x32", 128, 32, m, n, groups), depth, outputs * c.groups());
    }
    Plan plan = Plan.of("64x64", 64, 64, m, n, groups);
    if (n > 64) {
      plan = larger(plan, Plan.of("128x128", 128, 128, m, n, groups), depth, outputs);
    }
    if (tensorCores(true) && plan.rows() < 128) {
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
    Plan small = Plan.of(wide ? "64x64" : NARROW, 64, 64, n, width, c.groups());
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

  /** Bytes of the weights. */
  long weightBytes() {
    return (long) c.out() * c.inPerGroup() * c.taps() * c.dtype().bytes();
  }

  /** Whether weights as [out, taps, in/groups] are those in row-major order. */
  boolean tapsFirstIsRowMajor() {
    return c.taps() == 1 || c.inPerGroup() == 1;
  }

  /** Weights from row-major order to [out, taps, in/groups]. */
  void tapsFirst(long w, long to) {
    transpose(w, to, c.out(), c.inPerGroup(), c.taps());
  }

  /** Weights from row-major order to [groups, in/groups, taps, out/groups]. */
  void inputsFirst(long w, long to) {
    transpose(w, to, c.groups(), c.outPerGroup(), c.inPerGroup() * c.taps());
  }

  /** The gradient of the weights from [out, taps, in/groups] to row-major. */
  void tapsLast(long from, long dw) {
    transpose(from, dw, c.out(), c.taps(), c.inPerGroup());
  }

  /** Adds the bias to each pixel of y. */
  void addBias(long bias, long y) {
    long total = c.outPixels() * c.out();
    gpu.kernel("conv_direct", "conv_add_bias_" + type)
        .grid(blocks(Math.ceilDiv(total, 16 / c.dtype().bytes())))
        .block(THREADS)
        .pointer(y)
        .pointer(bias)
        .i64(total)
        .i32(c.out())
        .run();
  }

  /** {@code to [batch, columns, rows] = from [batch, rows, columns]}. */
  private void transpose(long from, long to, int batch, int rows, int columns) {
    if (Math.min(rows, columns) < 32) {
      boolean narrow = columns <= rows;
      int few = narrow ? columns : rows;
      int many = narrow ? rows : columns;
      int some = Math.min(many, 16384 / (few * c.dtype().bytes()));
      gpu.kernel("conv_direct", (narrow ? "conv_transpose_narrow_" : "conv_transpose_wide_") + type)
          .grid(Math.ceilDiv(many, some), batch)
          .block(THREADS)
          .shared(some * few * c.dtype().bytes())
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
