// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Attention;

/**
 * Which kernel of attention takes a case, and its sizes. For 16-bit types there are kernels for
 * exact head sizes, without mask, and for any case kernels of the next larger of four sizes, with
 * smaller tiles; these also serve grids that would leave multiprocessors idle.
 *
 * @param family the kernel's file
 * @param name its name
 * @param threads threads of a block
 * @param rows queries (forward, separate) or keys (backward) of a block
 * @param width columns that heads are padded to
 * @param parts blocks that share the columns of one block of rows
 * @param sharedBytes dynamic shared memory of a block
 */
record AttentionTile(
    String family, String name, int threads, int rows, int width, int parts, int sharedBytes) {
  private static final int[] ANY = {32, 64, 128, 256};
  private static final int[] F32 = {32, 48, 64, 80, 128, 160, 256};

  /** The tile of the forward; bits of {@code aligned} as the kernels want them. */
  static AttentionTile forward(Gpu gpu, Attention op, Tensor[] in, int aligned) {
    long heads = (long) in[0].dim(0) * in[0].dim(1);
    if (in[0].dtype() == DType.F32) {
      int width = padded(in, F32);
      int keys = width <= 80 ? 64 : 32;
      boolean small = heads * blocks(in[0].dim(2), 64) < 2L * gpu.multiprocessors();
      int rows = small || width > 128 ? 32 : 64;
      int floats = (rows + 2 * keys) * (width + 4) + rows * (keys + 16);
      String name = "attention_f32_forward_" + width + "_" + rows;
      return new AttentionTile("attention_f32", name, 128, rows, width, 1, floats * Float.BYTES);
    }
    int width = padded(in, ANY);
    if (isExact(op, in, aligned)) {
      int d = in[0].dim(3);
      int rows = d == 256 ? 64 : 128;
      int keys = d == 32 ? 128 : d >= 160 ? 32 : 64;
      AttentionTile tile = half("forward", d + "", in, 128, rows, d, 1, rows + 4 * keys, 0);
      boolean fills = width != d || heads * blocks(in[0].dim(2), rows) >= gpu.multiprocessors();
      if (fills && tile.sharedBytes <= gpu.sharedPerBlock()) {
        return tile;
      }
    }
    int keys = width == 256 ? 32 : 64;
    return half("forward", "any_" + width, in, 128, 64, width, 1, 64 + 4 * keys, 0);
  }

  /** The tile of the kernel for the gradients. */
  static AttentionTile backward(Gpu gpu, Attention op, Tensor[] in, int aligned) {
    long heads = (long) in[0].dim(0) * in[0].dim(1);
    if (in[0].dtype() == DType.F32) {
      int width = padded(in, F32);
      boolean small = heads * blocks(in[1].dim(2), 64) < 2L * gpu.multiprocessors();
      int rows = small || width > 80 ? 32 : 64;
      int floats = 4 * rows * (width + 4) + 2 * rows * (rows + 16);
      String name = "attention_f32_backward_" + width + "_" + rows;
      return new AttentionTile("attention_f32", name, 128, rows, width, 1, floats * Float.BYTES);
    }
    int width = padded(in, ANY);
    if (isExact(op, in, aligned)) {
      int d = in[0].dim(3);
      int rows = d <= 72 ? 256 : d == 256 ? 64 : 128;
      int queries = d >= 160 ? 32 : 64;
      AttentionTile tile = gradients(d + "", in, d == 256 ? 128 : 256, rows, d, queries);
      boolean fills = width != d || heads * blocks(in[1].dim(2), rows) >= gpu.multiprocessors();
      fills |= in[1].dim(2) <= rows && in[0].dim(2) >= 1024; // blocks share the queries
      if (fills && tile.sharedBytes <= gpu.sharedPerBlock()) {
        return tile;
      }
    }
    return gradients("any_" + width, in, 128, 64, width, 32);
  }

  /** The tile of the kernel that gives the gradient of q alone. */
  static AttentionTile separate(Tensor[] in) {
    if (in[0].dtype() == DType.F32) {
      int width = padded(in, F32);
      int floats = 4 * 32 * (width + 4) + 32 * (32 + 16);
      String name = "attention_f32_dq_" + width;
      return new AttentionTile("attention_f32", name, 128, 32, width, 1, floats * Float.BYTES);
    }
    int width = padded(in, ANY);
    int keys = width == 256 ? 32 : 64;
    AttentionTile t = half("backward", "" + width, in, 128, 64, width, 1, 128 + 4 * keys, 0);
    String name = "attention_dq_" + width + "_" + Types.suffix(in[0].dtype());
    return new AttentionTile(t.family, name, 128, 64, width, 1, t.sharedBytes);
  }

  private static AttentionTile gradients(
      String size, Tensor[] in, int threads, int rows, int width, int queries) {
    int scores = 2 * rows * (queries + 8) * 2; // dS, twice
    int perQuery = 2 * queries * 2 * Float.BYTES;
    int parts = width == 256 ? 2 : 1;
    int tiles = 2 * rows + 4 * queries;
    return half("backward", size, in, threads, rows, width, parts, tiles, scores + perQuery);
  }

  /** {@code tiled} rows of 16-bit values in shared memory, and {@code more} bytes. */
  private static AttentionTile half(
      String pass,
      String size,
      Tensor[] in,
      int threads,
      int rows,
      int width,
      int parts,
      int tiled,
      int more) {
    String suffix = "_" + Types.suffix(in[0].dtype());
    int pitch = (width / 8 | 1) * 8; // an odd number of 16-byte chunks
    String kernel = "attention_" + pass + "_" + size + suffix;
    String family = "attention_" + pass + suffix;
    return new AttentionTile(family, kernel, threads, rows, width, parts, tiled * pitch * 2 + more);
  }

  /** Whether the kernels for exact sizes take it. */
  private static boolean isExact(Attention op, Tensor[] in, int aligned) {
    return aligned == 3
        && op.mask() == Attention.Mask.NONE
        && (float) op.scale() > 0
        && in[0].dim(3) == in[2].dim(3)
        && switch (in[0].dim(3)) {
          case 32, 40, 64, 72, 80, 96, 128, 160, 256 -> true;
          default -> false;
        };
  }

  private static int padded(Tensor[] in, int[] sizes) {
    int widest = Math.max(in[0].dim(3), in[2].dim(3));
    for (int size : sizes) {
      if (size >= widest) {
        return size;
      }
    }
    throw new IllegalArgumentException("no kernel for heads of " + widest + " columns");
  }

  private static long blocks(long n, long each) {
    return (n + each - 1) / each;
  }
}
