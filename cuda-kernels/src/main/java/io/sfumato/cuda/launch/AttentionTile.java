// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Attention;

/**
 * Which kernel of attention takes a case, and its sizes. There are kernels for exact head sizes,
 * without mask, and for any case kernels of the next larger of four sizes; those for 16-bit types
 * have smaller tiles and also serve grids that would leave multiprocessors idle.
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
  private static final int CHUNK = 16; // bytes

  /** The tile of the forward; bits of {@code aligned} as the kernels want them. */
  static AttentionTile forward(Gpu gpu, Attention op, Tensor[] in, int aligned) {
    boolean f32 = in[0].dtype() == DType.F32;
    int width = padded(in);
    if (isExact(op, in, aligned)) {
      int d = in[0].dim(3);
      int rows = f32 || d == 256 ? 64 : 128;
      int keys = f32 || d >= 160 ? 32 : d == 32 ? 128 : 64;
      AttentionTile tile = forward(in, d + "", rows, keys, d);
      if (tile.sharedBytes <= gpu.sharedPerBlock()
          && (f32 || width != d || fills(gpu, in, in[0].dim(2), rows))) {
        return tile;
      }
    }
    return forward(in, "any_" + width, 64, f32 || width == 256 ? 32 : 64, width);
  }

  /** The tile of the kernel for the gradients. */
  static AttentionTile backward(Gpu gpu, Attention op, Tensor[] in, int aligned) {
    boolean f32 = in[0].dtype() == DType.F32;
    int width = padded(in);
    if (isExact(op, in, aligned)) {
      int d = in[0].dim(3);
      int rows = f32 || d == 256 ? 64 : d <= 72 ? 256 : 128;
      int queries = f32 ? 16 : d >= 160 ? 32 : 64;
      int threads = rows == 64 ? 128 : 256;
      AttentionTile tile = backward(in, d + "", threads, rows, queries, d);
      boolean shared = in[1].dim(2) <= rows && in[0].dim(2) >= 1024; // blocks share the queries
      if (tile.sharedBytes <= gpu.sharedPerBlock()
          && (f32 || width != d || shared || fills(gpu, in, in[1].dim(2), rows))) {
        return tile;
      }
    }
    return backward(in, "any_" + width, 128, 64, f32 ? 16 : 32, width);
  }

  /** The tile of the kernel that gives the gradient of q alone. */
  static AttentionTile separate(Tensor[] in) {
    int width = padded(in);
    int keys = in[0].dtype() == DType.F32 ? (width == 256 ? 16 : 32) : width == 256 ? 32 : 64;
    int bytes = (2 * 64 + 4 * keys) * rowBytes(in, width);
    return tile("backward", "dq_" + width, in, 128, 64, width, 1, bytes);
  }

  private static AttentionTile forward(Tensor[] in, String size, int rows, int keys, int width) {
    int bytes = (rows + 4 * keys) * rowBytes(in, width);
    return tile("forward", "forward_" + size, in, 128, rows, width, 1, bytes);
  }

  private static AttentionTile backward(
      Tensor[] in, String size, int threads, int rows, int queries, int width) {
    int tiles = (2 * rows + 4 * queries) * rowBytes(in, width);
    int scores = 2 * rows * rowBytes(in, queries); // dS, twice
    int perQuery = 2 * queries * 2 * Float.BYTES;
    int parts = width == 256 ? 2 : 1;
    int bytes = tiles + scores + perQuery;
    return tile("backward", "backward_" + size, in, threads, rows, width, parts, bytes);
  }

  private static AttentionTile tile(
      String pass, String kernel, Tensor[] in, int threads, int rows, int width, int parts, int n) {
    String suffix = "_" + Types.suffix(in[0].dtype());
    String family = "attention_" + pass + suffix;
    return new AttentionTile(
        family, "attention_" + kernel + suffix, threads, rows, width, parts, n);
  }

  /** Bytes from one row of a tile to the next: an odd number of chunks. */
  private static int rowBytes(Tensor[] in, int width) {
    return (width * in[0].dtype().bytes() / CHUNK | 1) * CHUNK;
  }

  /** Whether there is a block for every multiprocessor. */
  private static boolean fills(Gpu gpu, Tensor[] in, int length, int rows) {
    long heads = (long) in[0].dim(0) * in[0].dim(1);
    return heads * ((length + rows - 1) / rows) >= gpu.multiprocessors();
  }

  /** Whether the kernels for exact sizes take it. */
  private static boolean isExact(Attention op, Tensor[] in, int aligned) {
    boolean f32 = in[0].dtype() == DType.F32;
    return aligned == 3
        && op.mask() == Attention.Mask.NONE
        && (float) op.scale() > 0
        && in[0].dim(3) == in[2].dim(3)
        && switch (in[0].dim(3)) {
          case 40, 64, 72, 80, 128 -> true;
          case 32, 96, 160, 256 -> !f32;
          default -> false;
        };
  }

  private static int padded(Tensor[] in) {
    int widest = Math.max(in[0].dim(3), in[2].dim(3));
    for (int size : ANY) {
      if (size >= widest) {
        return size;
      }
    }
    throw new IllegalArgumentException("no kernel for heads of " + widest + " columns");
  }
}
