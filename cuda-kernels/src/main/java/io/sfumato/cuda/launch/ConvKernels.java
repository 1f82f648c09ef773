// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.driver.Launch;
import io.sfumato.cuda.library.CudnnConvolution.Kind;
import io.sfumato.cuda.memory.Scratch;
import io.sfumato.tensor.DType;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Predicate;
import java.util.function.Supplier;

/**
 * The kernels of {@code conv_mma.cu}, {@code conv_tf32.cu}, {@code conv_simt.cu} and {@code
 * conv_direct.cu}: which tile, how many parts of the sum, which order of weights. All tensors are
 * channels-last, weights row-major.
 */
final class ConvKernels {
  private static final int THREADS = 256;
  private static final int STAGES = 4;
  private static final int MOST_TAPS = 64; // of the kernels that fetch 16 bytes at once
  private static final int STAGE_BYTES = 64; // of the axis that is summed
  private static final int TURNED = 4096; // sums that a block turns round

  private final Gpu gpu;
  private final Convolution c;
  private final String type;
  private final boolean tf32;

  private final Predicate<ConvPlan.Tile> offered;
  private final Map<String, ConvPlan> plans = new ConcurrentHashMap<>();

  /** For one convolution; {@code tf32} says whether f32 may be rounded to that. */
  ConvKernels(Gpu gpu, Convolution c, boolean tf32) {
    this(gpu, c, tf32, tile -> tile != ConvPlan.EIGHT);
  }

  /** The same; its products have those tiles that are offered, where any of these suits. */
  ConvKernels(Gpu gpu, Convolution c, boolean tf32, Predicate<ConvPlan.Tile> offered) {
    this.gpu = gpu;
    this.c = c;
    type = Types.suffix(c.dtype());
    this.tf32 = tf32;
    this.offered = offered;
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
    boolean wide = aligned(c.inPerGroup(), x) && aligned(c.outPerGroup(), dy);
    if (wide || c.groups() > 1) {
      weight(dy, x, dw, wide, c);
      return;
    }
    Convolution padded = c.withIn(whole(c.in())).withOut(whole(c.out()));
    try (Scratch a = pad(dy, c.outPixels(), c.out());
        Scratch b = pad(x, c.inPixels(), c.in())) {
      weight(a.address(), b.address(), dw, true, padded);
    }
  }

  /** The same as products of matrices; channels of {@code of} may be more than those of dw. */
  private void weight(long dy, long x, long dw, boolean wide, Convolution of) {
    int width = of.taps() * of.inPerGroup();
    ConvPlan plan = weightPlan(wide, of);
    long total = (long) of.out() * width;
    int most = Math.min(c.inPerGroup(), 64);
    int some = c.taps() == 1 || c.taps() > TURNED ? 0 : Math.min(most, TURNED / c.taps());
    some = some > 4 ? some / 4 * 4 : some;
    long turning = some == 0 ? 0 : (long) c.out() * Math.ceilDiv(c.inPerGroup(), some);
    try (Scratch parts = gpu.scratch(4L * plan.splits() * total)) {
      launch("conv_weight_", plan, of.groups(), of.outPerGroup(), width)
          .pointer(dy)
          .pointer(x)
          .pointer(parts.address())
          .ints(of.walk(false, plan.splits()))
          .run();
      gpu.kernel("conv_direct", "conv_sum_weight_" + type)
          .grid(some == 0 ? blocks((long) c.out() * c.taps() * c.inPerGroup()) : turning)
          .block(THREADS)
          .shared(4 * some * c.taps())
          .pointer(parts.address())
          .pointer(dw)
          .i64(total)
          .i32(plan.splits())
          .i32(c.taps())
          .i32(of.inPerGroup())
          .i32(c.out())
          .i32(c.inPerGroup())
          .i32(some)
          .run();
    }
  }

  // ---- matrix products

  private void gather(long from, long w, long bias, long to, boolean gradient) {
    int channels = gradient ? c.outPerGroup() : c.inPerGroup();
    boolean fewTaps = (gradient ? c.tapsOfPhase() : c.taps()) <= MOST_TAPS;
    boolean wide = fewTaps && aligned(channels, from) && w % 16 == 0;
    if (wide || !fewTaps || c.groups() > 1) {
      gather(from, w, bias, to, gradient, wide, c);
      return;
    }
    int whole = whole(channels);
    long rows = (long) c.taps() * (gradient ? c.in() : c.out());
    try (Scratch a = pad(from, gradient ? c.outPixels() : c.inPixels(), channels);
        Scratch b = pad(w, rows, channels)) {
      Convolution padded = gradient ? c.withOut(whole) : c.withIn(whole);
      gather(a.address(), b.address(), bias, to, gradient, true, padded);
    }
  }

  /** The same; {@code of} may have more channels that are summed. */
  private void gather(
      long from, long w, long bias, long to, boolean gradient, boolean wide, Convolution of) {
    int n = gradient ? of.inPerGroup() : of.outPerGroup();
    int phases = gradient ? of.phases() : 1;
    long rows = gradient ? rowsOfPhase() : of.outPixels();
    ConvPlan plan = gatherPlan(gradient, wide, of);
    long total = gradient ? of.inPixels() * of.in() : of.outPixels() * of.out();
    try (Scratch parts = gpu.scratch(plan.splits() > 1 ? 4 * plan.splits() * total : 0)) {
      launch("conv_gather_", plan, of.groups() * phases, rows, n)
          .pointer(from)
          .pointer(w)
          .pointer(bias)
          .pointer(to)
          .pointer(plan.splits() > 1 ? parts.address() : 0)
          .ints(of.walk(gradient, plan.splits()))
          .run();
      if (plan.splits() > 1) {
        gpu.kernel("conv_direct", "conv_sum_" + type)
            .grid(blocks(Math.ceilDiv(total, 4)))
            .block(THREADS)
            .pointer(parts.address())
            .pointer(bias)
            .pointer(to)
            .i64(total)
            .i32(plan.splits())
            .i32(n * of.groups())
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

  private Launch launch(String kind, ConvPlan plan, int groups, long rows, int columns) {
    ConvPlan.Tile tile = plan.tile();
    long blocks = Math.ceilDiv(rows, tile.rows()) * Math.ceilDiv(columns, tile.columns());
    if (!tensorCores(tile != ConvPlan.NARROW)) {
      return gpu.kernel("conv_simt", kind + tile.name() + "_" + type)
          .grid(blocks, groups, plan.splits())
          .block(THREADS);
    }
    boolean rounded = c.dtype() == DType.F32;
    if (rounded) {
      ConvPrecision.tell();
    }
    String name = kind + tile.name() + "_" + (rounded ? "tf32" : type);
    return gpu.kernel(rounded ? "conv_tf32" : "conv_mma", name)
        .grid(blocks, groups, plan.splits())
        .block(tile == ConvPlan.EIGHT ? 256 : 128)
        .shared(STAGES * (tile.rows() + tile.columns()) * STAGE_BYTES);
  }

  private boolean tensorCores(boolean wide) {
    return c.dtype() != DType.F32 || tf32 && wide;
  }

  /** Whether the tiles are those that eight warps can compute as well as four. */
  boolean largeTiles(Kind kind) {
    if (direct() || !tensorCores(true)) {
      return false;
    }
    ConvPlan plan =
        kind == Kind.WEIGHT ? weightPlan(true, c) : gatherPlan(kind == Kind.INPUT, true, c);
    return plan.tile() == ConvPlan.T128X128;
  }

  private ConvPlan weightPlan(boolean wide, Convolution of) {
    int width = of.taps() * of.inPerGroup();
    return plan(
        "weight " + wide,
        () -> weightTiles(wide, of.outPerGroup(), width),
        of.outPerGroup(),
        width,
        of.groups(),
        of.outPixels(),
        true);
  }

  private ConvPlan gatherPlan(boolean gradient, boolean wide, Convolution of) {
    int n = gradient ? of.inPerGroup() : of.outPerGroup();
    int phases = gradient ? of.phases() : 1;
    int channels = gradient ? of.outPerGroup() : of.inPerGroup();
    return plan(
        "gather " + gradient + wide,
        () -> gatherTiles(wide, n),
        gradient ? rowsOfPhase() : of.outPixels(),
        n,
        (long) of.groups() * phases,
        (long) (gradient ? of.tapsOfPhase() : of.taps()) * channels,
        false);
  }

  private ConvPlan plan(
      String key,
      Supplier<List<ConvPlan.Tile>> tiles,
      long rows,
      long columns,
      long copies,
      long depth,
      boolean always) {
    return plans.computeIfAbsent(
        key,
        k -> {
          long stages = Math.ceilDiv(depth * c.dtype().bytes(), STAGE_BYTES);
          ConvPlan.Product product = new ConvPlan.Product(rows, columns, copies, stages, always);
          List<ConvPlan.Tile> suit = tiles.get();
          List<ConvPlan.Tile> some = suit.stream().filter(offered).toList();
          return ConvPlan.best(some.isEmpty() ? suit : some, product, gpu.multiprocessors());
        });
  }

  private List<ConvPlan.Tile> gatherTiles(boolean wide, int n) {
    if (!wide) {
      return List.of(ConvPlan.NARROW);
    }
    if (!tensorCores(true)) {
      return n > 64 ? List.of(ConvPlan.T128X128, ConvPlan.T64X64) : List.of(ConvPlan.T64X64);
    }
    if (n <= 32) {
      return List.of(ConvPlan.T128X32);
    }
    return n > 64
        ? List.of(ConvPlan.T128X128, ConvPlan.EIGHT, ConvPlan.T128X64, ConvPlan.T64X64)
        : List.of(ConvPlan.T128X64, ConvPlan.T64X64);
  }

  private List<ConvPlan.Tile> weightTiles(boolean wide, int n, int width) {
    if (!wide) {
      return List.of(ConvPlan.NARROW);
    }
    if (!tensorCores(true)) {
      return n > 64 && width > 64
          ? List.of(ConvPlan.T128X128, ConvPlan.T64X64)
          : List.of(ConvPlan.T64X64);
    }
    return n > 64
        ? List.of(ConvPlan.T128X128, ConvPlan.EIGHT, ConvPlan.T64X128, ConvPlan.T64X64)
        : List.of(ConvPlan.T64X128, ConvPlan.T64X64);
  }

  /** Channels that fill chunks of 16 bytes. */
  private int whole(int channels) {
    int chunk = 16 / c.dtype().bytes();
    return Math.ceilDiv(channels, chunk) * chunk;
  }

  /** Rows of channels with zeros after them, so that they can be fetched 16 bytes at once. */
  private Scratch pad(long from, long rows, int channels) {
    int whole = whole(channels);
    Scratch to = gpu.scratch(rows * whole * c.dtype().bytes());
    gpu.kernel("conv_direct", "conv_pad_" + type)
        .grid(blocks(rows * whole * c.dtype().bytes() / 16))
        .block(THREADS)
        .pointer(from)
        .pointer(to.address())
        .i64(rows)
        .i32(channels)
        .i32(whole)
        .run();
    return to;
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
