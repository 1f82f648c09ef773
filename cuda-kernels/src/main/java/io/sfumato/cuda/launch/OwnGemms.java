// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.driver.Launch;
import io.sfumato.cuda.driver.TensorMap;
import io.sfumato.cuda.memory.Scratch;
import io.sfumato.tensor.DType;
import org.jspecify.annotations.Nullable;

/**
 * Products by the kernels of {@code gemm*.cu}. They take every product of floating types; operands
 * that cannot be copied 16 bytes at a time go through slower kernels.
 */
final class OwnGemms implements Gemms {
  private static final int DEEP = 32; // products in a tile of the tensor-core kernels
  static final int DEEP_HOPPER = 64;
  private static final int SHARED_HOPPER = 227 * 1024; // bytes that a block can have
  static final int STAGED = 8 * 16 * 128; // bytes in which warps round their results
  static final int BARRIERS = 128; // bytes of them
  private static final double MOST_IDLE = 1.2; // of what would be computed without a rest
  private static final double ONE_PASS = 670; // products that cost as much as an element's pass
  private static final int STAGES = 4;
  private static final int STAGES_TF32 = 3;
  private static final int MOST_SPLITS = 32;
  private static final int LEAST_DEPTH = 8 * DEEP; // products in a part of a split sum
  private static final long MOST_PARTIAL_BYTES = 64L << 20;

  /** A kernel's tile of C, and its threads with tensor cores; without, there are 256. */
  enum Tile {
    LARGE("large", 128, 128, 256),
    SMALL("small", 64, 64, 128),
    TALL("tall", 128, 32, 128),
    WIDE("wide", 32, 128, 128),
    ANY("any", 64, 64, 128),
    HOPPER_128("hopper_128", 128, 128, 256),
    HOPPER_256("hopper_256", 128, 256, 256),
    BULK_128X128("hopper_bulk_128x128", 128, 128, 384),
    BULK_256X160("hopper_bulk_256x160", 256, 160, 384),
    BULK_128X256("hopper_bulk_128x256", 128, 256, 384);

    private final String text;
    private final int m;
    private final int n;
    private final int threads;

    Tile(String name, int m, int n, int threads) {
      this.text = "gemm_" + name + "_";
      this.m = m;
      this.n = n;
      this.threads = threads;
    }

    /** Whether its kernels use wgmma; they are a family of their own. */
    boolean isHopper() {
      return compareTo(HOPPER_128) >= 0;
    }

    /**
     * Whether its kernels copy by tensor maps. Their blocks go on to further tiles, so that there
     * are as many as fit the device.
     */
    boolean hasMaps() {
      return compareTo(BULK_128X128) >= 0;
    }

    /** A tile for the same product without. */
    Tile withoutMaps() {
      return this == BULK_128X128 ? HOPPER_128 : HOPPER_256;
    }

    int m() {
      return m;
    }

    int n() {
      return n;
    }

    int threads() {
      return threads;
    }

    long tiles(Product p) {
      return ((p.m() + m - 1L) / m) * ((p.n() + n - 1L) / n) * p.batches();
    }
  }

  /**
   * How a kernel reads an operand, whose rows run along C: whether the axis of the sum is the
   * contiguous one, the stride of the other axis, the stride of the contiguous axis.
   */
  private record Order(boolean byK, long outer, long inner) {
    static Order of(Matrices x, int rows, int k, boolean byK) {
      long across = rows == 1 ? (byK ? 0 : 1) : x.row(); // strides of one element mean nothing
      long along = k == 1 ? (byK ? 1 : 0) : x.column();
      return byK ? new Order(true, across, along) : new Order(false, along, across);
    }

    char letter() {
      return byK ? 'k' : 'r';
    }

    /** Whether tiles can be copied by 16 bytes, at offsets of 32 bits within a tile. */
    boolean isFast(Matrices x, Product p, int vector) {
      return inner == 1
          && outer % vector == 0
          && outer < (1 << 24)
          && x.address() % 16 == 0
          && (p.outer() == 1 || x.outer() % vector == 0)
          && (p.inner() == 1 || x.inner() % vector == 0);
    }
  }

  /** How the kernel reads the operands of one side. */
  private record Side(Matrices first, Order order, Matrices second, Order secondOrder) {}

  @Override
  public boolean takes(Product p) {
    return p.dtype().isFloating();
  }

  @Override
  public boolean run(Gpu gpu, Product p) {
    run(gpu, p, null, 0);
    return true;
  }

  /** The same with tiles of the caller's choice unless it is null, and so many parts unless 0. */
  static void run(Gpu gpu, Product p, @Nullable Tile tile, int parts) {
    Call call = new Call(gpu, p, tile, parts);
    long elements = p.batches() * p.m() * p.n();
    try (Scratch partial = gpu.scratch(call.splits == 1 ? 0 : call.partialBytes())) {
      call.launch(partial.address());
      if (call.splits > 1) {
        Launch sum =
            sums(gpu, call.sums, "gemm_sum_" + Types.suffix(p.dtype()), elements)
                .pointer(partial.address())
                .pointer(p.c().address())
                .pointer(p.bias())
                .i64(elements)
                .i32(p.n())
                .i32(call.splits);
        factors(sum, p).run();
      }
    }
  }

  /** Adds partial sums [splits][elements] up, with a bias of {@code n} or 0, to 16-bit values. */
  static void sum(
      Gpu gpu, DType dtype, long partial, long c, long bias, long elements, int n, int splits) {
    String suffix = Types.suffix(dtype);
    sums(gpu, "gemm_" + suffix, "gemm_sum_" + suffix, elements)
        .pointer(partial)
        .pointer(c)
        .pointer(bias)
        .i64(elements)
        .i32(n)
        .i32(splits)
        .f32(1)
        .f32(0)
        .run();
  }

  /**
   * A product of 16-bit matrices as two matrices whose sum has twice the digits: C [m, 2 pitch]
   * with the rounded values in the first {@code n} columns and what rounding took in those from
   * {@code pitch} on. Zeros lie between.
   */
  static void split(Gpu gpu, Product p, long c, int pitch) {
    Call call = new Call(gpu, p, null, 0);
    try (Scratch partial = gpu.scratch(call.partialBytes())) {
      call.launch(partial.address());
      sums(gpu, call.sums, "gemm_split_" + Types.suffix(p.dtype()), (long) p.m() * pitch)
          .pointer(partial.address())
          .pointer(c)
          .i64(p.m())
          .i32(p.n())
          .i32(pitch)
          .i32(call.splits)
          .f32(p.alpha())
          .run();
    }
  }

  /**
   * A product with an operand that {@link #split} made: C [rows, columns] from the sums of each
   * element and that {@code low} elements further on, both in the larger result of {@code p}.
   */
  static void fold(Gpu gpu, Product p, long c, int rows, int columns, long low) {
    Call call = new Call(gpu, p, null, 0);
    try (Scratch partial = gpu.scratch(call.partialBytes())) {
      call.launch(partial.address());
      sums(gpu, call.sums, "gemm_fold_" + Types.suffix(p.dtype()), (long) rows * columns)
          .pointer(partial.address())
          .pointer(c)
          .i64(rows)
          .i32(columns)
          .i64(p.n())
          .i64(low)
          .i64((long) p.m() * p.n())
          .i32(call.splits)
          .run();
    }
  }

  private static Launch sums(Gpu gpu, String family, String name, long elements) {
    long blocks = Math.min((elements + 255) / 256, 8L * gpu.multiprocessors());
    return gpu.kernel(family, name).grid(blocks).block(256);
  }

  /** A product and the kernel for it. */
  private static final class Call {
    private final Gpu gpu;
    private final Product p;
    private final Side left;
    private final Side right;
    private final boolean fast;
    private final boolean tf32;
    private final Tile tile;
    private final long tiles;
    private final int splits;
    private final String sums; // the family of the kernels that add up

    Call(Gpu gpu, Product p, @Nullable Tile wanted, int parts) {
      this.gpu = gpu;
      this.p = p;
      Product.More more = p.more();
      left = side(p.a(), more == null ? null : more.a(), p.m(), p);
      right = side(p.b().transposed(), more == null ? null : more.b().transposed(), p.n(), p);
      fast = isFast(left, p) && isFast(right, p);
      tf32 = fast && p.dtype() == DType.F32 && Tf32.allowed();
      boolean sixteen = p.dtype().bytes() == 2;
      Tile best = !fast ? Tile.ANY : wanted == null ? tile(gpu, p, sixteen) : wanted;
      tile = best.hasMaps() && p.batches() > 1 ? best.withoutMaps() : best;
      tiles = tile.tiles(p);
      splits = parts > 0 ? parts : splits(gpu, p, tile, tiles);
      sums = sixteen ? "gemm_" + Types.suffix(p.dtype()) : "gemm_f32";
    }

    long partialBytes() {
      return splits * p.batches() * p.m() * p.n() * (p.dtype() == DType.F64 ? 8 : 4);
    }

    private String family() {
      return tile.isHopper() ? "gemm_hopper_" + Types.suffix(p.dtype()) : tf32 ? "gemm_tf32" : sums;
    }

    /** Launches it; partial sums go to {@code partial}, or if that is 0 the result to C. */
    void launch(long partial) {
      boolean sixteen = p.dtype().bytes() == 2;
      String name =
          tile.text
              + left.order.letter()
              + right.order.letter()
              + "_"
              + (tf32 ? "tf32" : Types.suffix(p.dtype()));
      Launch launch =
          gpu.kernel(family(), name)
              .grid(tile.hasMaps() ? Math.min(tiles, gpu.multiprocessors()) : tiles, splits)
              .block(sixteen || tf32 ? tile.threads : 256)
              .shared(
                  sixteen ? shared(tile, left, right) : tf32 ? sharedTf32(tile, left, right) : 0);
      int k2 = p.more() == null ? 0 : p.more().k();
      operand(launch, left.first, left.order, p.m(), p.k(), tile.m);
      operand(launch, right.first, right.order, p.n(), p.k(), tile.n);
      launch.pointer(p.c().address()).pointer(p.bias());
      if (k2 == 0 && tile.hasMaps()) { // any maps
        operand(launch, left.first, left.order, p.m(), p.k(), tile.m);
        operand(launch, right.first, right.order, p.n(), p.k(), tile.n);
      } else {
        operand(launch, left.second, left.secondOrder, p.m(), k2, tile.m);
        operand(launch, right.second, right.secondOrder, p.n(), k2, tile.n);
      }
      launch.pointer(partial).longs(shape(p, left, right, splits));
      factors(launch, p).run();
    }

    /** The address of an operand, or its map; {@code lines} are rows of C that a tile has. */
    private void operand(Launch launch, Matrices x, Order order, int rows, int k, int lines) {
      if (!tile.hasMaps()) {
        launch.pointer(x.address());
        return;
      }
      int contiguous = order.byK ? k : rows;
      long stride = order.outer == 0 ? (contiguous + 7L) / 8 * 8 : order.outer; // 0: of one row
      launch.longs(
          TensorMap.of(
              p.dtype(),
              x.address(),
              contiguous,
              order.byK ? rows : k,
              stride,
              order.byK ? lines : TensorMap.BOX));
    }
  }

  /** {@code struct Product} of gemm.cuh for a kernel that reads its operands by maps. */
  static long[] shape(Product p) {
    Side none = new Side(p.a(), new Order(true, 0, 1), p.a(), new Order(true, 0, 1));
    return shape(p, none, none, 1);
  }

  /** {@code struct Product} of gemm.cuh. */
  private static long[] shape(Product p, Side left, Side right, int splits) {
    return new long[] {
      p.m(),
      p.n(),
      p.k(),
      left.order.outer,
      left.order.inner,
      right.order.outer,
      right.order.inner,
      p.c().row(),
      p.batches(),
      p.inner(),
      left.first.outer(),
      left.first.inner(),
      right.first.outer(),
      right.first.inner(),
      p.c().outer(),
      p.c().inner(),
      p.more() == null ? 0 : p.more().k(),
      left.secondOrder.outer,
      left.secondOrder.inner,
      right.secondOrder.outer,
      right.secondOrder.inner,
      splits
    };
  }

  private static Launch factors(Launch launch, Product p) {
    return p.dtype() == DType.F64
        ? launch.f64(p.alpha()).f64(p.beta())
        : launch.f32(p.alpha()).f32(p.beta());
  }

  /** The order that is read fast if there is one, else that with the smaller inner stride. */
  private static Side side(Matrices first, @Nullable Matrices second, int rows, Product p) {
    int k2 = p.more() == null ? 0 : p.more().k();
    Matrices more = second == null ? Matrices.of(0, 0, 1) : second;
    Side byK = side(first, more, rows, k2, p, true);
    if (isFast(byK, p)) {
      return byK;
    }
    Side byRow = side(first, more, rows, k2, p, false);
    return isFast(byRow, p) || byRow.order.inner < byK.order.inner ? byRow : byK;
  }

  private static Side side(
      Matrices first, Matrices second, int rows, int k2, Product p, boolean byK) {
    Order more = k2 == 0 ? new Order(byK, 0, 1) : Order.of(second, rows, k2, byK);
    return new Side(first, Order.of(first, rows, p.k(), byK), second, more);
  }

  private static boolean isFast(Side side, Product p) {
    int vector = 16 / p.dtype().bytes();
    return p.dtype() != DType.F64
        && side.order.isFast(side.first, p, vector)
        && side.secondOrder.isFast(side.second, p, vector);
  }

  /**
   * Large tiles where they, or parts of their sums, fill the device; thin ones for thin results.
   */
  private static Tile tile(Gpu gpu, Product p, boolean sixteen) {
    if (sixteen && isLarge(p) && Wgmma.isOn(gpu)) {
      return hopper(gpu, p);
    }
    if (sixteen && p.n() <= 32 && p.m() > 64) {
      return Tile.TALL;
    }
    if (sixteen && p.m() <= 32 && p.n() > 64) {
      return Tile.WIDE;
    }
    boolean fills = Tile.LARGE.tiles(p) * mostSplits(p) >= gpu.multiprocessors();
    return fills && p.m() > 64 && p.n() > 64 ? Tile.LARGE : Tile.SMALL;
  }

  /** Whether tiles of Hopper are not mostly empty. */
  private static boolean isLarge(Product p) {
    return p.m() > 64 && p.n() > 64 && p.k() >= 2 * DEEP_HOPPER;
  }

  /** The tile with which all rounds of blocks compute the least, what lies outside included. */
  private static Tile hopper(Gpu gpu, Product p) {
    Tile best = Tile.BULK_128X128;
    for (Tile tile : Tile.values()) {
      if (tile.hasMaps() && computed(gpu, p, tile) <= computed(gpu, p, best)) {
        best = tile;
      }
    }
    return best;
  }

  /** Elements of C that a multiprocessor computes. */
  private static long computed(Gpu gpu, Product p, Tile tile) {
    return Blocks.ceil(tile.tiles(p), gpu.multiprocessors()) * tile.m * tile.n;
  }

  /** Whether a product, with its second pair, goes by wgmma. */
  static boolean isHopper(Gpu gpu, Product p) {
    return p.dtype().bytes() == 2
        && isLarge(p)
        && Wgmma.isOn(gpu)
        && new Call(gpu, p, null, 0).tile.isHopper();
  }

  /**
   * Whether a second pair of operands costs least if it is summed in the same pass, by wgmma: that
   * leaves few multiprocessors idle, and what it is slower than NVIDIA's product is less than a
   * pass over x and C. On an H200 a layer with a change of rank 8 took 1.26 times the frozen one in
   * one pass and 1.50 in two for 1280 columns, 1.34 and 1.17 for 3072.
   */
  static boolean keepsUp(Gpu gpu, Product p) {
    return isHopper(gpu, p) && keepsUp(gpu, p, hopper(gpu, p));
  }

  /** The same with tiles of the caller's choice, for a product that its kernel takes. */
  static boolean keepsUp(Gpu gpu, Product p, Tile tile) {
    double whole = MOST_IDLE * p.m() * p.n();
    return p.dtype().bytes() == 2
        && isLarge(p)
        && p.batches() == 1
        && (double) p.n() * p.k() <= ONE_PASS * (p.k() + 2.0 * p.n())
        && Wgmma.isOn(gpu)
        && computed(gpu, p, tile) * gpu.multiprocessors() <= whole;
  }

  /** In how many parts to sum, so that few tiles with long sums still occupy the device. */
  private static int splits(Gpu gpu, Product p, Tile tile, long tiles) {
    long wanted = (tile.isHopper() ? 1L : 2L) * gpu.multiprocessors() / tiles;
    return (int) Math.max(1, Math.min(wanted, mostSplits(p)));
  }

  /** In how many parts a sum may be split: none where C has gaps, or a part would be short. */
  private static long mostSplits(Product p) {
    Matrices c = p.c();
    boolean dense =
        c.row() == p.n()
            && (p.inner() == 1 || c.inner() == (long) p.m() * p.n())
            && (p.outer() == 1 || c.outer() == (long) p.inner() * p.m() * p.n());
    if (!dense) {
      return 1;
    }
    long sums = p.k() + (p.more() == null ? 0 : p.more().k());
    long partial = p.batches() * p.m() * p.n() * (p.dtype() == DType.F64 ? 8 : 4);
    long most = Math.min(sums / LEAST_DEPTH, MOST_PARTIAL_BYTES / partial);
    return Math.max(1, Math.min(MOST_SPLITS, most));
  }

  private static int shared(Tile tile, Side left, Side right) {
    int deep = tile.isHopper() ? DEEP_HOPPER : DEEP;
    int values = lines(tile, tile.m, left.order) + lines(tile, tile.n, right.order);
    int stage = values * deep * 2;
    if (tile.hasMaps()) { // struct Ring of gemm_hopper_bulk.cuh
      return (SHARED_HOPPER - STAGED - BARRIERS) / stage * stage + STAGED + BARRIERS;
    }
    if (tile.isHopper()) {
      return (tile.n == 256 ? 4 : 6) * stage + STAGED; // stages as in gemm_hopper.cuh
    }
    return (tile == Tile.ANY ? 2 : STAGES) * stage;
  }

  /** Lines of an operand's tile in shared memory: those by r come in blocks of 64 rows. */
  private static int lines(Tile tile, int rows, Order order) {
    return tile.hasMaps() && !order.byK ? (rows + 63) / 64 * 64 : rows;
  }

  private static int sharedTf32(Tile tile, Side left, Side right) {
    return STAGES_TF32 * 4 * (tileSize(tile.m, left.order) + tileSize(tile.n, right.order));
  }

  private static int tileSize(int rows, Order order) {
    return order.byK ? rows * (DEEP + 4) : DEEP * (rows + 8);
  }
}
