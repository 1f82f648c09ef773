// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.driver.Launch;
import io.sfumato.cuda.memory.Scratch;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Coding;
import io.sfumato.tensor.ops.QuantizedLinear;
import org.jspecify.annotations.Nullable;

/**
 * Products of 16-bit matrices with a coded weight by the kernels of {@code quantized_mma.cu}: the
 * weight is decoded on its way to the tensor cores, so its values never lie in memory.
 *
 * <p>Each block decodes all rows of the weight that it needs. With many rows in the input it is
 * better to decode once and multiply by the best means there are. On an H200, with a weight of 4096
 * x 4096, that begins at 160 rows for 8 bits, and for 4 bits wherever the kernel for few rows ends.
 * The system property {@value #PROPERTY} sets another number: these kernels save the memory that
 * the values take for the time of a product.
 */
final class QuantizedProducts {
  /** The system property with the most rows of an input that is multiplied with codes. */
  static final String PROPERTY = "sfumato.cuda.quantized.rows";

  private static final int MOST_ROWS_8 = 160;
  private static final int MOST_ROWS_4 = 4;
  private static final String FAMILY = "quantized_mma";
  private static final int DEEP = 64; // as in quantized_mma.cu
  private static final int STAGES = 3;
  private static final int UNIT = 8; // elements of a chunk
  private static final int MOST_SPLITS = 32;
  private static final int LEAST_DEPTH = 4; // tiles in a part of a split sum
  private static final long MOST_PARTIAL_BYTES = 64L << 20;
  private static final int FARTHEST = 1 << 24; // elements; offsets within a tile have 32 bits

  private QuantizedProducts() {}

  /** A kernel's tile of the result, and its threads. */
  enum Tile {
    LARGE("large", 128, 128, 256),
    SMALL("small", 64, 64, 128),
    THIN("thin", 16, 128, 128);

    private final String text;
    private final int m;
    private final int n;
    private final int threads;

    Tile(String name, int m, int n, int threads) {
      this.text = name;
      this.m = m;
      this.n = n;
      this.threads = threads;
    }

    private long tiles(int rows, int columns) {
      return Blocks.ceil(rows, m) * Blocks.ceil(columns, n);
    }

    private int sharedBytes() {
      return (STAGES * m + 2 * n) * DEEP * 2;
    }

    private static Tile of(Gpu gpu, int rows, int columns, int depth) {
      if (rows <= THIN.m) {
        return THIN;
      }
      long large = LARGE.tiles(rows, columns) * mostSplits(rows, columns, depth);
      boolean fills = rows > SMALL.m && columns > SMALL.n && large >= gpu.multiprocessors();
      return fills ? LARGE : SMALL;
    }
  }

  /**
   * A product {@code C = A B + bias}, B a coded weight or its transpose.
   *
   * @param codes where the codes lie
   * @param a the input
   */
  record Call(QuantizedLinear op, DType dtype, int m, int n, int k, long codes, Matrices a) {
    /** Whether the kernels can take it, however many rows it has. */
    boolean isPossible() {
      return (dtype == DType.BF16 || dtype == DType.F16)
          && k > 0
          && k % UNIT == 0
          && op.coding().shape().dim(1) % UNIT == 0
          && op.coding().shape().numel() <= Integer.MAX_VALUE
          && codes % UNIT == 0
          && a.column() == 1
          && a.address() % 16 == 0
          && (m == 1 || (a.row() % UNIT == 0 && a.row() < FARTHEST));
    }

    /** Whether that is better than to decode the weight first. */
    boolean isGood() {
      boolean eight = op.coding().scheme() == Coding.Scheme.ROWS_INT8;
      return isPossible() && m <= Integer.getInteger(PROPERTY, eight ? MOST_ROWS_8 : MOST_ROWS_4);
    }
  }

  /**
   * Launches a product that is possible.
   *
   * @param in the operands of the op
   * @param y where the result lies, row-major
   * @param bias where the bias lies, or 0
   * @param wanted the tile, or null for the best
   * @param parts in how many parts to sum, or 0 for the best
   */
  static void run(
      Gpu gpu,
      Staging staging,
      Call call,
      Tensor[] in,
      long y,
      long bias,
      @Nullable Tile wanted,
      int parts) {
    int m = call.m;
    int n = call.n;
    Tile tile = wanted == null ? Tile.of(gpu, m, n, call.k) : wanted;
    long tiles = tile.tiles(m, n);
    long best = Math.min(2L * gpu.multiprocessors() / tiles, mostSplits(m, n, call.k));
    int splits = parts > 0 ? parts : (int) Math.max(1, best);
    long elements = (long) m * n;
    Coding coding = call.op.coding();
    String suffix = Types.suffix(call.dtype);
    boolean eight = coding.scheme() == Coding.Scheme.ROWS_INT8;
    String name =
        "quantized_"
            + (call.op.adjoint() ? "adjoint_" : "")
            + tile.text
            + (eight ? "_8_" : "_4_")
            + suffix;
    try (Scratch partial = gpu.scratch(splits == 1 ? 0 : splits * elements * Float.BYTES)) {
      Launch launch =
          gpu.kernel(FAMILY, name)
              .grid(tiles, splits)
              .block(tile.threads)
              .shared(tile.sharedBytes());
      QuantizedLaunch.weight(launch, staging, coding, in, 1)
          .pointer(call.a.address())
          .pointer(y)
          .pointer(bias)
          .pointer(partial.address())
          .longs(shape(call, splits))
          .run();
      if (splits > 1) {
        OwnGemms.sum(gpu, call.dtype, partial.address(), y, bias, elements, n, splits);
      }
    }
  }

  /** {@code struct Product} of gemm.cuh, without what the kernels do not read. */
  private static long[] shape(Call call, int splits) {
    long[] p = new long[22];
    p[0] = call.m;
    p[1] = call.n;
    p[2] = call.k;
    p[3] = call.m == 1 ? 0 : call.a.row();
    p[7] = call.n;
    p[8] = 1;
    p[9] = 1;
    p[21] = splits;
    return p;
  }

  private static long mostSplits(int m, int n, int k) {
    long most = MOST_PARTIAL_BYTES / ((long) m * n * Float.BYTES);
    return Math.max(1, Math.min(MOST_SPLITS, Math.min(k / (LEAST_DEPTH * DEEP), most)));
  }
}
