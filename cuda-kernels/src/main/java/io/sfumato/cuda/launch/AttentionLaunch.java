// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.driver.Launch;
import io.sfumato.cuda.memory.Scratch;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.Attention;
import io.sfumato.tensor.ops.AttentionBackward;
import org.jspecify.annotations.Nullable;

/**
 * Attention on tensor cores. Products of f32 values are three products in tf32 of the rounded
 * values and the rests, as exact as f32 sums are. q, k, v are read where they lie if D is
 * innermost, so slices of a fused projection need no copy.
 *
 * <p>The gradient of q is summed over blocks of keys by atomics, in an order that changes from run
 * to run; where all keys fit one block (up to 256 for small heads) it is not. With the system
 * property {@value #DETERMINISTIC} it comes from a kernel of its own, which computes the scores a
 * second time and gives the same bits every time.
 */
public final class AttentionLaunch {
  /** The system property that forbids sums whose order changes from run to run. */
  static final String DETERMINISTIC = "sfumato.deterministic";

  private static final int LEAST_QUERIES = 256; // of a block, where several share the queries
  private static final int WIDEST = 256;
  private static final int ADD = 0; // modes of the gradient of q, as the kernels number them
  private static final int WRITE = 1;
  private static final int SEPARATE = 2;

  private AttentionLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table.add(Attention.class, new Forward()).add(AttentionBackward.class, new Backward());
  }

  /** The attention. */
  static final class Forward implements Kernel<Attention> {
    @Override
    public @Nullable String refuse(Attention op, Tensor[] in, Tensor[] out) {
      String reason = refusal(in, out);
      if (reason != null) {
        return reason;
      }
      AttentionTile tile = AttentionTile.forward(Gpu.of(in[0]), op, in, 0); // takes every case
      return refusal(Gpu.of(in[0]), tile, heads(in[0]), in[0].dim(2));
    }

    @Override
    public void launch(Attention op, Tensor[] in, Tensor[] out) {
      run(op, in, out, null);
    }

    /** The same with a tile of the caller's choice unless it is null. */
    static void run(Attention op, Tensor[] in, Tensor[] out, @Nullable AttentionTile wanted) {
      run(op, in, out, wanted, 0, null);
    }

    /** The same by so many blocks that share the tiles so, unless these are 0 and null. */
    static void run(
        Attention op,
        Tensor[] in,
        Tensor[] out,
        @Nullable AttentionTile wanted,
        int blocks,
        int @Nullable [] share) {
      Gpu gpu = Gpu.of(in[0]);
      try (Staging staging = new Staging(gpu)) {
        Matrix[] m = matrices(staging, in[0], in[1], in[2], out[0]);
        int aligned = aligned(m, 3);
        AttentionTile tile = wanted == null ? AttentionTile.forward(gpu, op, in, aligned) : wanted;
        AttentionMask mask = AttentionMask.of(staging, op, in, tile.hopper());
        long tiles = heads(in[0]) * blocks(in[0].dim(2), tile.rows());
        long most = tile.hopper() ? Math.min(tiles, gpu.multiprocessors()) : tiles;
        int grid = blocks == 0 ? (int) most : blocks;
        Launch launch =
            gpu.kernel(tile.family(), tile.name())
                .grid(grid)
                .block(tile.threads())
                .shared(tile.sharedBytes())
                .pointer(m[0].address)
                .pointer(m[1].address)
                .pointer(m[2].address)
                .pointer(mask.address())
                .pointer(m[3].address)
                .pointer(out[1])
                .longs(strides(m, mask))
                .ints(sizes(op, in, aligned))
                .f32(op.scale());
        if (tile.hopper()) {
          launch.ints(share == null ? tile.share(op, in, grid) : share);
        }
        launch.run();
      }
    }
  }

  /** The gradients. */
  static final class Backward implements Kernel<AttentionBackward> {
    @Override
    public @Nullable String refuse(AttentionBackward op, Tensor[] in, Tensor[] out) {
      String reason = refusal(in, out);
      if (reason != null) {
        return reason;
      }
      if (in[in.length - 2].dtype() != DType.F32) {
        return "needs logarithms in f32";
      }
      Gpu gpu = Gpu.of(in[0]);
      AttentionTile tile = AttentionTile.backward(gpu, op.forward(), in, 0); // takes every case
      reason = refusal(gpu, tile, heads(in[0]) * tile.parts(), in[1].dim(2));
      if (reason == null && mode(tile, in[1].dim(2)) == SEPARATE) {
        reason = refusal(gpu, AttentionTile.separate(in), heads(in[0]), in[0].dim(2));
      }
      return reason;
    }

    @Override
    public void launch(AttentionBackward op, Tensor[] in, Tensor[] out) {
      Gpu gpu = Gpu.of(in[0]);
      int n = in.length;
      try (Staging staging = new Staging(gpu)) {
        Matrix[] m =
            matrices(staging, in[0], in[1], in[2], in[n - 3], in[n - 1], out[0], out[1], out[2]);
        new Pass(gpu, staging, op.forward(), in, m).run();
      }
    }
  }

  /** One backward; matrices are q, k, v, o, do, dq, dk, dv. */
  private static final class Pass {
    private final Gpu gpu;
    private final Attention op;
    private final Tensor[] in;
    private final Matrix[] m;
    private final long lse;
    private final AttentionTile tile;
    private final AttentionMask mask;
    private final int mode;
    private final long heads;
    private final int queries;
    private final int keys;
    private final int splits;
    private final int aligned;
    private final long[] strides;
    private final long[] gradientStrides;

    Pass(Gpu gpu, Staging staging, Attention op, Tensor[] in, Matrix[] m) {
      this.gpu = gpu;
      this.op = op;
      this.in = in;
      this.m = m;
      lse = staging.rowMajor(in[in.length - 2]);
      aligned = aligned(m, 5);
      tile = AttentionTile.backward(gpu, op, in, aligned);
      mask = AttentionMask.of(staging, op, in, tile.hopper());
      mode = mode(tile, in[1].dim(2));
      heads = heads(in[0]);
      queries = in[0].dim(2);
      keys = in[1].dim(2);
      long ctas = heads * blocks(keys, tile.rows()) * tile.parts();
      long most = blocks(queries, LEAST_QUERIES);
      splits = (int) Math.min(blocks(gpu.multiprocessors(), ctas), most);
      strides = strides(m, mask);
      gradientStrides = join(m[4].strides, m[5].strides, m[6].strides, m[7].strides);
    }

    void run() {
      String suffix = Types.suffix(in[0].dtype());
      String family = "attention_backward_" + suffix;
      long rows = heads * blocks(queries, 64) * 64; // padded_queries of the kernels
      long paddedKeys = blocks(keys, tile.rows()) * tile.rows();
      long partials = splits > 1 ? 2L * splits * heads * paddedKeys : 0; // rows
      long sums = mode == ADD ? rows * tile.width() * Float.BYTES : 0;
      try (Scratch row = gpu.scratch(rows * 2 * Float.BYTES);
          Scratch sum = gpu.scratch(sums);
          Scratch partial = gpu.scratch(partials * tile.width() * Float.BYTES)) {
        gpu.kernel(family, "attention_rows_" + suffix)
            .grid(blocks(rows, 32))
            .block(256)
            .pointer(m[3].address)
            .pointer(m[4].address)
            .pointer(lse)
            .pointer(row.address())
            .pointer(sum.address())
            .i32(tile.width())
            .i64(heads)
            .longs(strides)
            .longs(gradientStrides)
            .ints(sizes(op, in, aligned))
            .run();
        long grid = heads * blocks(keys, tile.rows()) * tile.parts() * splits;
        Launch main = operands(tile, grid);
        main.pointer(row.address()).pointer(sum.address());
        main.pointer(m[5].address).pointer(m[6].address).pointer(m[7].address);
        attributes(main).i32(mode).i32(splits).pointer(partial.address()).run();
        if (splits > 1) {
          long chunks = blocks(Math.max(in[0].dim(3), in[2].dim(3)), 8);
          gpu.kernel(family, "attention_sum_" + suffix)
              .grid(blocks(heads * keys * chunks, 256), 2)
              .block(256)
              .pointer(partial.address())
              .i32(tile.width())
              .i32(paddedKeys)
              .i32(splits)
              .pointer(m[6].address)
              .pointer(m[7].address)
              .i64(heads)
              .longs(gradientStrides)
              .ints(sizes(op, in, aligned))
              .run();
        }
        if (mode == ADD) {
          int chunks = (int) blocks(in[0].dim(3), 8);
          gpu.kernel(family, "attention_round_" + suffix)
              .grid(blocks(heads * blocks(queries, 16) * 8 * chunks, 256)) // two rows a thread
              .block(256)
              .pointer(sum.address())
              .i32(tile.width())
              .pointer(m[5].address)
              .i64(heads)
              .longs(gradientStrides)
              .ints(sizes(op, in, aligned))
              .f32(op.scale())
              .run();
        } else if (mode == SEPARATE) {
          AttentionTile separate = AttentionTile.separate(in);
          Launch launch = operands(separate, heads * blocks(queries, separate.rows()));
          attributes(launch.pointer(row.address()).pointer(m[5].address)).run();
        }
      }
    }

    /** A launch with q, k, v, mask, do. */
    private Launch operands(AttentionTile tile, long grid) {
      return gpu.kernel(tile.family(), tile.name())
          .grid(grid)
          .block(tile.threads())
          .shared(tile.sharedBytes())
          .pointer(m[0].address)
          .pointer(m[1].address)
          .pointer(m[2].address)
          .pointer(mask.address())
          .pointer(m[4].address);
    }

    private Launch attributes(Launch launch) {
      return launch
          .longs(strides)
          .longs(gradientStrides)
          .ints(sizes(op, in, aligned))
          .f32(op.scale());
    }
  }

  /** A tensor [B, H, L, D] with D innermost: where it starts, and elements per batch, head, row. */
  private record Matrix(long address, long[] strides, boolean aligned) {}

  private static Matrix[] matrices(Staging staging, Tensor... tensors) {
    Matrix[] m = new Matrix[tensors.length];
    for (int i = 0; i < m.length; i++) {
      Tensor t = tensors[i];
      boolean here = isRows(t);
      Layout layout = here ? t.layout() : Layout.contiguous(t.shape());
      long address = here ? t.address() : staging.rowMajor(t);
      long[] strides = {layout.stride(0), layout.stride(1), layout.stride(2)};
      m[i] = new Matrix(address, strides, isAligned(t, address, strides));
    }
    return m;
  }

  private static boolean isRows(Tensor t) {
    return t.layout().stride(3) == 1 || t.dim(3) == 1;
  }

  /** Whether every row starts at a multiple of 16 bytes. */
  private static boolean isAligned(Tensor t, long address, long[] strides) {
    int bytes = t.dtype().bytes();
    boolean aligned = address % 16 == 0;
    for (int i = 0; i < strides.length; i++) {
      aligned &= t.dim(i) == 1 || strides[i] * bytes % 16 == 0;
    }
    return aligned;
  }

  /** Bit 0: all of the first {@code inputs} are aligned; bit 1: all the others. */
  private static int aligned(Matrix[] m, int inputs) {
    int bits = 3;
    for (int i = 0; i < m.length; i++) {
      if (!m[i].aligned) {
        bits &= i < inputs ? 2 : 1;
      }
    }
    return bits;
  }

  private static @Nullable String refusal(Tensor[] in, Tensor[] out) {
    DType dtype = in[0].dtype();
    if (dtype != DType.F32 && dtype != DType.BF16 && dtype != DType.F16) {
      return "needs f32, bf16 or f16";
    }
    for (Tensor t : in) {
      if (t.numel() == 0) {
        return "needs elements";
      }
    }
    for (Tensor t : out) {
      if (t.rank() == 4 && !isRows(t)) {
        return "needs results with D innermost";
      }
    }
    int widest = Math.max(in[0].dim(3), in[2].dim(3));
    return widest > WIDEST ? "needs heads of at most " + WIDEST + " columns" : null;
  }

  private static @Nullable String refusal(Gpu gpu, AttentionTile tile, long heads, int rows) {
    if (tile.sharedBytes() > gpu.sharedPerBlock()) {
      return "needs " + tile.sharedBytes() + " bytes of shared memory per block";
    }
    return heads * blocks(rows, tile.rows()) > Integer.MAX_VALUE ? "needs a smaller grid" : null;
  }

  /** How the gradient of q is summed. */
  private static int mode(AttentionTile tile, int keys) {
    return keys <= tile.rows() ? WRITE : Boolean.getBoolean(DETERMINISTIC) ? SEPARATE : ADD;
  }

  private static long heads(Tensor q) {
    return (long) q.dim(0) * q.dim(1);
  }

  private static long blocks(long n, long each) {
    return (n + each - 1) / each;
  }

  /** struct AttentionStrides. */
  private static long[] strides(Matrix[] m, AttentionMask mask) {
    return join(m[0].strides, m[1].strides, m[2].strides, m[3].strides, mask.strides());
  }

  /** struct AttentionSizes. */
  private static int[] sizes(Attention op, Tensor[] in, int aligned) {
    return new int[] {
      in[0].dim(1),
      in[0].dim(2),
      in[1].dim(2),
      in[0].dim(3),
      in[2].dim(3),
      op.causal() ? 1 : 0,
      op.mask().ordinal(),
      aligned
    };
  }

  private static long[] join(long[]... parts) {
    int n = 0;
    for (long[] part : parts) {
      n += part.length;
    }
    long[] all = new long[n];
    int at = 0;
    for (long[] part : parts) {
      System.arraycopy(part, 0, all, at, part.length);
      at += part.length;
    }
    return all;
  }
}
