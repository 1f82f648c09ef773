// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.launch.AttentionVariants.Variant;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Attention;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Which kernel of attention takes a case, and its sizes. There are kernels for exact head sizes,
 * without mask, and for any case kernels of the next larger of four sizes. Some exact sizes have a
 * second kernel of smaller tiles, slower by itself, for grids that would leave multiprocessors
 * idle; where there is none, those for any case do that. Kernels for Hopper take exact sizes, with
 * or without a mask, where {@link Wgmma} is on.
 *
 * @param family the kernel's file
 * @param name its name
 * @param threads threads of a block
 * @param rows queries (forward, separate) or keys (backward) of a block
 * @param width columns that heads are padded to
 * @param parts blocks that share the columns of one block of rows
 * @param sharedBytes dynamic shared memory of a block
 * @param hopper whether the kernel is for Hopper; any number of blocks share the tiles of its
 *     forward
 */
record AttentionTile(
    String family,
    String name,
    int threads,
    int rows,
    int width,
    int parts,
    int sharedBytes,
    boolean hopper) {
  private static final int[] ANY = {32, 64, 128, 256};
  private static final int CHUNK = 16; // bytes

  // Causal kernels for Hopper take heads in sections: so many that k and v fill half of the L2
  // cache, or so many that several blocks at a time read the same.
  private static final long SECTION_BYTES = 24 << 20;
  private static final int LEAST_SECTION = 16;

  /** The tile of the forward; bits of {@code aligned} as the kernels want them. */
  static AttentionTile forward(Gpu gpu, Attention op, Tensor[] in, int aligned) {
    boolean f32 = in[0].dtype() == DType.F32;
    int width = padded(in);
    if (Wgmma.isOn(gpu) && !f32 && isRegular(op, in, aligned)) {
      AttentionTile tile = hopperForward(gpu, op, in);
      if (tile != null && tile.sharedBytes <= gpu.sharedPerBlock()) {
        return tile;
      }
    }
    if (isExact(op, in, aligned)) {
      int d = in[0].dim(3);
      int rows = d == 256 || f32 && d != 64 ? 64 : 128;
      int keys = f32 || d >= 160 ? 32 : d == 32 || d == 64 ? 128 : 64;
      AttentionTile large = forward(in, d + "", rows, keys, d);
      AttentionTile small =
          switch (d) {
            case 40, 72, 80, 128, 160 -> f32 ? large : forward(in, "short_" + d, 64, 64, d);
            case 64 -> forward(in, "short_64", 64, f32 ? 32 : 64, d);
            case 32 -> anyForward(in, width);
            default -> large;
          };
      int each = d == 32 || d >= 128 ? 1 : 2; // of a multiprocessor, for the large tile to pay
      boolean many = large.blocks(in, in[0].dim(2)) >= (long) each * gpu.multiprocessors();
      for (AttentionTile tile : many ? List.of(large, small) : List.of(small)) {
        if (tile.sharedBytes <= gpu.sharedPerBlock()) {
          return tile;
        }
      }
    }
    Variant variant =
        isPlain(op, in, aligned) ? Variant.forward(in[0].dtype(), in[0].dim(3)) : null;
    if (variant != null) {
      int bytes = (variant.rows() + 4 * variant.step()) * rowBytes(in, variant.width());
      AttentionTile tile = of(variant, bytes);
      if (tile.isThere(gpu, variant)) {
        return tile;
      }
    }
    return anyForward(in, width);
  }

  /** The tile of the kernel for Hopper, or null if there is none for this head size. */
  private static @Nullable AttentionTile hopperForward(Gpu gpu, Attention op, Tensor[] in) {
    int d = in[0].dim(3);
    boolean masked = op.mask() != Attention.Mask.NONE;
    HopperTile tile =
        HopperTile.of(
            masked, d, heads(in), in[0].dim(2), in[1].dim(2), op.causal(), gpu.multiprocessors());
    if (tile == null) {
      return null;
    }
    String part = masked ? "masked_forward" : "forward";
    String name = tile.name("attention_hopper_" + part) + "_" + Types.suffix(in[0].dtype());
    return hopperForward(family(op, in, "forward"), name, tile);
  }

  /** The file of a kernel for Hopper. */
  private static String family(Attention op, Tensor[] in, String pass) {
    String part = op.mask() == Attention.Mask.NONE ? pass : "masked";
    return "attention_hopper_" + part + "_" + Types.suffix(in[0].dtype());
  }

  /** A tile of {@code attention_hopper_forward.cuh}. */
  static AttentionTile hopperForward(String family, String name, HopperTile tile) {
    int threads = 128 * (tile.groups() + 1);
    return new AttentionTile(
        family, name, threads, tile.rows(), tile.width(), 1, tile.bytes(), true);
  }

  /** struct HopperShare of {@code attention_hopper_forward.cuh}, for a grid of so many blocks. */
  int[] share(Attention op, Tensor[] in, int grid) {
    int heads = Math.toIntExact(heads(in));
    int tiles = Math.ceilDiv(in[0].dim(2), rows);
    if (!op.causal()) {
      return new int[] {heads, tiles, heads, 0};
    }
    long bytes = 4L * in[1].dim(2) * width; // k and v of a head
    long most = Math.max(LEAST_SECTION, SECTION_BYTES / bytes);
    int sections = (int) Math.ceilDiv(heads, most);
    int section = Math.ceilDiv(heads, sections);
    return new int[] {heads, tiles, section, grid / Math.ceilDiv(heads, section) % grid};
  }

  /** The tile of the gradients' kernel for Hopper, or null if there is none for this head size. */
  private static @Nullable AttentionTile hopperBackward(Attention op, Tensor[] in) {
    int d = in[0].dim(3);
    switch (d) {
      case 40, 64, 72, 80, 96, 128 -> {}
      default -> {
        return null;
      }
    }
    int keys = 128;
    int queries = 64; // of a step
    int columns = (d + 63) / 64 * 64;
    int tiles = (2 * keys + 4 * queries) * 2 * columns; // k, v; two steps of q, do
    int bytes = tiles + 2 * keys * 2 * queries + 2 * queries * 8 + 64; // dS twice; rows; barriers
    String part = op.mask() == Attention.Mask.NONE ? "" : "masked_";
    String name = "attention_hopper_" + part + "backward_" + d + "_" + Types.suffix(in[0].dtype());
    return new AttentionTile(family(op, in, "backward"), name, 384, keys, d, 1, bytes, true);
  }

  /** Whether heads are padded to this width by the kernels for any width. */
  static boolean isPadded(int width) {
    return Arrays.stream(ANY).anyMatch(any -> any == width);
  }

  private static AttentionTile of(Variant v, int bytes) {
    return new AttentionTile(
        v.name(), v.name(), v.threads(), v.rows(), v.width(), v.parts(), bytes, false);
  }

  /** Whether a variant is better than padding, and can be had. */
  private boolean isThere(Gpu gpu, Variant v) {
    return !isPadded(v.width())
        && sharedBytes <= gpu.sharedPerBlock()
        && AttentionVariants.of(gpu).has(v);
  }

  /** The tile of the kernel for the gradients. */
  static AttentionTile backward(Gpu gpu, Attention op, Tensor[] in, int aligned) {
    boolean f32 = in[0].dtype() == DType.F32;
    int width = padded(in);
    if (Wgmma.isOn(gpu) && !f32 && isRegular(op, in, aligned)) {
      AttentionTile tile = hopperBackward(op, in);
      if (tile != null && tile.sharedBytes <= gpu.sharedPerBlock()) {
        return tile;
      }
    }
    if (isExact(op, in, aligned)) {
      int d = in[0].dim(3);
      int rows = f32 ? 64 : d == 40 || d >= 96 ? 128 : 256;
      int threads = f32 || d == 40 ? 128 : 256;
      int queries = f32 ? 16 : d >= 160 ? 32 : 64;
      AttentionTile large = backward(in, d + "", threads, rows, queries, d);
      AttentionTile small =
          switch (d) {
            case 64, 72, 80 -> f32 ? large : backward(in, "short_" + d, 128, 64, 64, d);
            case 32, 128, 256 -> f32 ? large : anyBackward(in, width);
            default -> large;
          };
      int keys = in[1].dim(2);
      boolean shared = keys <= rows && in[0].dim(2) >= 1024; // blocks share the queries
      boolean many = shared || fills(gpu, large.blocks(in, keys) * large.parts);
      for (AttentionTile tile : many ? List.of(large, small) : List.of(small)) {
        if (tile.sharedBytes <= gpu.sharedPerBlock()) {
          return tile;
        }
      }
    }
    Variant variant =
        isPlain(op, in, aligned) ? Variant.backward(in[0].dtype(), in[0].dim(3)) : null;
    if (variant != null) {
      int bytes = backwardBytes(in, variant.rows(), variant.step(), variant.width());
      AttentionTile tile = of(variant, bytes);
      if (tile.isThere(gpu, variant)) {
        return tile;
      }
    }
    return anyBackward(in, width);
  }

  /** The tile of the kernel that gives the gradient of q alone. */
  static AttentionTile separate(Tensor[] in) {
    int width = padded(in);
    int keys = in[0].dtype() == DType.F32 ? (width == 256 ? 16 : 32) : width == 256 ? 32 : 64;
    int bytes = (2 * 64 + 4 * keys) * rowBytes(in, width);
    return tile("backward", "dq_" + width, in, 128, 64, width, 1, bytes);
  }

  private static AttentionTile anyForward(Tensor[] in, int width) {
    int keys = width == 32 || width < 256 && in[0].dtype() != DType.F32 ? 64 : 32;
    return forward(in, "any_" + width, 64, keys, width);
  }

  private static AttentionTile anyBackward(Tensor[] in, int width) {
    int queries = width == 32 || in[0].dtype() != DType.F32 ? 32 : 16;
    return backward(in, "any_" + width, 128, 64, queries, width);
  }

  private static AttentionTile forward(Tensor[] in, String size, int rows, int keys, int width) {
    int bytes = (rows + 4 * keys) * rowBytes(in, width);
    return tile("forward", "forward_" + size, in, 128, rows, width, 1, bytes);
  }

  private static AttentionTile backward(
      Tensor[] in, String size, int threads, int rows, int queries, int width) {
    int parts = width == 256 ? 2 : 1;
    int bytes = backwardBytes(in, rows, queries, width);
    return tile("backward", "backward_" + size, in, threads, rows, width, parts, bytes);
  }

  private static int backwardBytes(Tensor[] in, int rows, int queries, int width) {
    int tiles = (2 * rows + 4 * queries) * rowBytes(in, width);
    int scores = 2 * rows * rowBytes(in, queries); // dS, twice
    int perQuery = 2 * queries * 2 * Float.BYTES;
    return tiles + scores + perQuery;
  }

  private static AttentionTile tile(
      String pass, String kernel, Tensor[] in, int threads, int rows, int width, int parts, int n) {
    String suffix = "_" + Types.suffix(in[0].dtype());
    String family = "attention_" + pass + suffix;
    return new AttentionTile(
        family, "attention_" + kernel + suffix, threads, rows, width, parts, n, false);
  }

  /** Bytes from one row of a tile to the next: an odd number of chunks. */
  private static int rowBytes(Tensor[] in, int width) {
    return (width * in[0].dtype().bytes() / CHUNK | 1) * CHUNK;
  }

  /** Blocks of rows, for all heads. */
  private long blocks(Tensor[] in, int length) {
    return heads(in) * ((length + rows - 1) / rows);
  }

  private static long heads(Tensor[] in) {
    return (long) in[0].dim(0) * in[0].dim(1);
  }

  /** Whether rounds of one block for each multiprocessor leave at most a third of them idle. */
  private static boolean fills(Gpu gpu, long blocks) {
    long each = gpu.multiprocessors();
    long rounds = (blocks + each - 1) / each;
    return 3 * blocks >= 2 * rounds * each;
  }

  /** Whether the kernels for exact sizes take it. */
  private static boolean isExact(Attention op, Tensor[] in, int aligned) {
    boolean f32 = in[0].dtype() == DType.F32;
    return isPlain(op, in, aligned)
        && switch (in[0].dim(3)) {
          case 40, 64, 72, 80, 128 -> true;
          case 32, 96, 160, 256 -> !f32;
          default -> false;
        };
  }

  /** Whether kernels for exact sizes, whatever these are, take the rest of the case. */
  private static boolean isPlain(Attention op, Tensor[] in, int aligned) {
    return op.mask() == Attention.Mask.NONE && isRegular(op, in, aligned);
  }

  /** The same with any mask, as kernels for Hopper take it. */
  private static boolean isRegular(Attention op, Tensor[] in, int aligned) {
    return aligned == 3 && (float) op.scale() > 0 && in[0].dim(3) == in[2].dim(3);
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
