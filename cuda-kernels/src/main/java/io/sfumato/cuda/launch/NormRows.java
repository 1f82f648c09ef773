// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.memory.Scratch;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Which kernel of {@code layernorm.cu} and {@code layernorm_backward.cu} takes rows of a length,
 * and how its blocks share the rows.
 *
 * @param gpu the device
 * @param dtype type of the values
 * @param batches the number of gain and offset rows that differ
 * @param per rows per batch
 * @param n values per row
 */
record NormRows(Gpu gpu, DType dtype, int batches, int per, int n) {
  private static final String FAMILY = "layernorm";
  private static final String BACKWARD = "layernorm_backward";
  private static final int MOST_ROWS = 1 << 30;
  private static final int LONGEST_BLOCK = 512;
  private static final int REGISTERS = 65536;

  /** Why the kernels of normalisations do not take the case, or null. */
  static @Nullable String refuse(Tensor[] in, Tensor[] out) {
    DType dtype = in[0].dtype();
    if (dtype != DType.F32 && dtype != DType.BF16 && dtype != DType.F16) {
      return "needs f32, bf16 or f16";
    }
    for (Tensor[] side : new Tensor[][] {in, out}) {
      for (Tensor t : side) {
        if (t.numel() == 0) {
          return "needs elements";
        }
        if (t.rank() > 0 && t.numel() / t.dim(-1) > MOST_ROWS) {
          return "needs at most 2^30 rows";
        }
      }
    }
    return null;
  }

  /**
   * The factors of the normalised values and what is added to them; an address of 0 if absent.
   *
   * @param gain address of [batches, n]
   * @param gainStride values from batch to batch
   * @param offset address of [batches, n]
   * @param offsetStride values from batch to batch
   * @param plus added to the gain
   */
  record Affine(long gain, long gainStride, long offset, long offsetStride, double plus) {
    static Affine weights(long weight, long bias) {
      return new Affine(weight, 0, bias, 0, 0);
    }
  }

  /** Address of row-major statistics in f32. */
  static long statistics(Gpu gpu, Staging staging, Tensor t) {
    if (t.dtype() == DType.F32) {
      return staging.rowMajor(t);
    }
    long n = t.numel();
    long to = staging.allocate(4 * n);
    gpu.kernel(FAMILY, "layer_norm_widen_" + Types.suffix(t.dtype()))
        .grid((n + 255) / 256)
        .block(256)
        .pointer(staging.rowMajor(t))
        .pointer(to)
        .i32(n)
        .run();
    return to;
  }

  /** How threads share a row: {@code lanes} of a warp, or a block of {@code threads} if 0. */
  private record Shape(int lanes, int vectors, int threads) {
    String kernel(String prefix, DType dtype) {
      String row = lanes == 0 ? "block" : "lanes" + lanes;
      return prefix + "_" + row + "_k" + vectors + "_" + Types.suffix(dtype);
    }
  }

  private int rows() {
    return batches * per;
  }

  private int width() {
    return 16 / dtype.bytes();
  }

  /** The kernel with rows in registers, or null if the length or an address does not suit it. */
  private @Nullable Shape shape(long... aligned) {
    for (long address : aligned) {
      if (address % 16 != 0) {
        return null;
      }
    }
    int vectors = n / width();
    if (n % width() != 0 || vectors > 4 * LONGEST_BLOCK) {
      return null;
    }
    if (vectors <= 16) {
      return new Shape(vectors <= 8 ? 8 : 16, 1, 128);
    }
    int[] steps = dtype == DType.F32 ? new int[] {1, 2, 3, 6, 10} : new int[] {1, 2, 3, 5};
    for (int k : steps) {
      if (vectors <= 32 * k) {
        return new Shape(32, k, 128);
      }
    }
    int k = vectors <= 256 ? 1 : vectors <= 1024 ? 2 : 4;
    return new Shape(0, k, roundUp((vectors + k - 1) / k));
  }

  /** Threads of whole warps. */
  static int roundUp(int threads) {
    return (threads + 31) / 32 * 32;
  }

  /** Values per row to the next row of gain or offset that the wide loads can take. */
  private long strides(Affine a) {
    return 16L * Math.floorMod(a.gainStride | a.offsetStride, width());
  }

  /** Normalises; {@code mean} is 0 for RMS. */
  void forward(long x, long y, long mean, long rstd, Affine a, double eps) {
    Shape shape = strides(a) == 0 ? shape(x, y, a.gain, a.offset) : null;
    String kernel =
        shape == null ? "layer_norm_any_" + Types.suffix(dtype) : shape.kernel("layer_norm", dtype);
    int threads = shape == null ? Math.min(roundUp(n), 1024) : shape.threads;
    int chunks = 1;
    boolean lanes = false;
    if (shape != null && shape.lanes != 0) {
      lanes = true;
      int values = shape.vectors * width();
      int residents = values <= 16 ? 8 : shape.vectors == 3 ? 6 : shape.vectors <= 6 ? 5 : 4;
      chunks = chunks(threads / shape.lanes, gpu.multiprocessors() * residents);
    }
    gpu.kernel(FAMILY, kernel)
        .grid(lanes ? (long) batches * chunks : rows())
        .block(threads)
        .shared(lanes ? 2 * n * dtype.bytes() : 0)
        .pointer(x)
        .pointer(y)
        .pointer(mean)
        .pointer(rstd)
        .pointer(a.gain)
        .pointer(a.offset)
        .i64(a.gainStride)
        .i64(a.offsetStride)
        .f32(a.plus)
        .f32(eps)
        .i32(lanes ? chunks : rows())
        .i32(per)
        .i32(n)
        .run();
  }

  /**
   * Gradients.
   *
   * @param dy gradient of the result
   * @param x input
   * @param mean row means, 0 for RMS
   * @param rstd row factors
   * @param a the gain; its offset does not matter
   * @param dx gradient of x
   * @param dgain gradient of the gain [batches, n], or 0
   * @param doffset gradient of the offset [batches, n], or 0
   */
  void backward(
      long dy, long x, long mean, long rstd, Affine a, long dx, long dgain, long doffset) {
    Shape shape = strides(a) == 0 ? shape(dy, x, dx, a.gain) : null;
    if (shape == null) {
      backwardAny(dy, x, mean, rstd, a, dx, dgain, doffset);
      return;
    }
    boolean sums = dgain != 0 || doffset != 0;
    int threads = shape.lanes == 0 ? shape.threads : backwardThreads(shape);
    int groups = shape.lanes == 0 ? 1 : threads / shape.lanes;
    int chunks = chunks(groups, gpu.multiprocessors() * residents(shape, threads));
    boolean parts = sums && chunks > 1;
    try (Scratch part = gpu.scratch(parts ? 8L * batches * chunks * n : 0)) {
      gpu.kernel(BACKWARD, shape.kernel("layer_norm_backward", dtype))
          .grid((long) batches * chunks)
          .block(threads)
          .shared(shape.lanes == 0 ? 0 : backwardShared(shape, threads))
          .pointer(dy)
          .pointer(x)
          .pointer(mean)
          .pointer(rstd)
          .pointer(a.gain)
          .i64(a.gainStride)
          .f32(a.plus)
          .pointer(dx)
          .pointer(part.address())
          .pointer(dgain)
          .pointer(doffset)
          .i32(per)
          .i32(chunks)
          .i32(n)
          .run();
      if (parts) {
        finish(gpu, dtype, part.address(), dgain, doffset, n, batches, chunks, n);
      }
    }
  }

  /** Threads whose vectors of two rows of dy and x fit into shared memory. */
  private int backwardThreads(Shape shape) {
    int threads = shape.vectors * width() <= 16 ? 384 : shape.vectors == 10 ? 320 : 512;
    while (threads > 32 && backwardShared(shape, threads) > gpu.sharedPerBlock()) {
      threads -= 32;
    }
    return threads;
  }

  private int backwardShared(Shape shape, int threads) {
    return 64 * shape.vectors * threads + n * dtype.bytes();
  }

  /** Blocks that a multiprocessor holds at once, by the registers of the kernels. */
  private int residents(Shape shape, int threads) {
    int values = shape.vectors * width();
    if (shape.lanes != 0) {
      return values <= 16 ? 2 : 1;
    }
    int registers = values <= 4 ? 56 : values <= 8 ? 72 : values <= 16 ? 120 : 128;
    return Math.clamp(REGISTERS / ((long) registers * threads), 1, 4);
  }

  /**
   * Blocks per batch. A block takes {@code groups} rows at a time and costs about as much as three
   * times that at its start and end; blocks run in waves of {@code slots}.
   */
  int chunks(int groups, int slots) {
    int most = (per + groups - 1) / groups;
    int best = 1;
    long least = Long.MAX_VALUE;
    for (int waves = 0; waves <= 4; waves++) {
      int c = (int) Math.clamp((long) waves * slots / batches, 1, most);
      long steps = ((per + c - 1) / c + groups - 1) / groups;
      long cost = ((long) batches * c + slots - 1) / slots * (steps + 3);
      if (cost < least) {
        least = cost;
        best = c;
      }
    }
    return best;
  }

  private void backwardAny(
      long dy, long x, long mean, long rstd, Affine a, long dx, long dgain, long doffset) {
    gpu.kernel(BACKWARD, "layer_norm_backward_any_" + Types.suffix(dtype))
        .grid(rows())
        .block(Math.min(roundUp(n), 1024))
        .pointer(dy)
        .pointer(x)
        .pointer(mean)
        .pointer(rstd)
        .pointer(a.gain)
        .i64(a.gainStride)
        .f32(a.plus)
        .pointer(dx)
        .i32(per)
        .i32(n)
        .run();
    if (dgain == 0 && doffset == 0) {
      return;
    }
    int threads = Math.min(roundUp(n), 256);
    int tiles = (n + threads - 1) / threads;
    long wanted = 8L * gpu.multiprocessors() / ((long) batches * tiles);
    int chunks = (int) Math.clamp(wanted, 1, (per + 15) / 16);
    try (Scratch part = gpu.scratch(chunks > 1 ? 8L * batches * chunks * n : 0)) {
      gpu.kernel(BACKWARD, "layer_norm_sums_" + Types.suffix(dtype))
          .grid((long) batches * chunks, tiles)
          .block(threads)
          .pointer(dy)
          .pointer(x)
          .pointer(mean)
          .pointer(rstd)
          .pointer(part.address())
          .pointer(dgain)
          .pointer(doffset)
          .i32(per)
          .i32(chunks)
          .i32(n)
          .run();
      if (chunks > 1) {
        finish(gpu, dtype, part.address(), dgain, doffset, n, batches, chunks, n);
      }
    }
  }

  /**
   * Adds up parts [batches, chunks, 2, n] of f32 over chunks into {@code gain} and {@code offset},
   * each 0 or the address of rows of {@code dtype} that lie {@code stride} values apart.
   */
  static void finish(
      Gpu gpu,
      DType dtype,
      long part,
      long gain,
      long offset,
      long stride,
      int batches,
      int chunks,
      int n) {
    gpu.kernel(BACKWARD, "layer_norm_finish_" + Types.suffix(dtype))
        .grid((long) batches * ((n + 31) / 32))
        .block(32, 16)
        .pointer(part)
        .pointer(gain)
        .pointer(offset)
        .i64(stride)
        .i32(chunks)
        .i32(n)
        .run();
  }
}
