// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.driver.Launch;
import io.sfumato.cuda.memory.Scratch;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.GatedResidualNorm;
import io.sfumato.tensor.ops.GatedResidualNormBackward;
import org.jspecify.annotations.Nullable;

/** Gated residuals with the normalisation after them. */
final class GatedNormLaunch {
  private static final String FAMILY = "gatednorm";
  private static final int LONGEST_BLOCK = 512;
  private static final int FORWARD_THREADS = 128;
  private static final int BACKWARD_THREADS = 256;

  private GatedNormLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table
        .add(GatedResidualNorm.class, new Forward())
        .add(GatedResidualNormBackward.class, new Backward());
  }

  /** Vectors [B, D] where they lie, which may be slices of a wider product. */
  private record Vectors(long address, long stride) {
    static Vectors of(Tensor t, Staging staging) {
      boolean unit = t.layout().stride(1) == 1 || t.dim(1) == 1;
      return unit
          ? new Vectors(t.address(), t.layout().stride(0))
          : new Vectors(staging.rowMajor(t), t.dim(1));
    }

    /** A multiple of 16 if and only if every vector starts at one. */
    long places(int bytes) {
      return address | stride * bytes;
    }
  }

  /** Vectors per lane of a warp, or per thread of a block if {@code threads} is not 0. */
  private record Shape(int vectors, int threads) {
    String kernel(String prefix, DType dtype) {
      String row = threads == 0 ? "_lanes_k" : "_block_k";
      return prefix + row + vectors + "_" + Types.suffix(dtype);
    }
  }

  private static int width(NormRows rows) {
    return 16 / rows.dtype().bytes();
  }

  /** The kernel with rows in registers, or null if the length or an address does not suit it. */
  private static @Nullable Shape shape(NormRows rows, int[] lanes, long places) {
    int vectors = rows.n() / width(rows);
    if (places % 16 != 0 || rows.n() % width(rows) != 0 || vectors > 2 * LONGEST_BLOCK) {
      return null;
    }
    for (int k : lanes) {
      if (vectors <= 32 * k) {
        return new Shape(k, 0);
      }
    }
    int k = vectors <= LONGEST_BLOCK ? 1 : 2;
    return new Shape(k, NormRows.roundUp((vectors + k - 1) / k));
  }

  private static NormRows rows(Gpu gpu, Tensor x) {
    return new NormRows(gpu, x.dtype(), x.dim(0), x.dim(1), x.dim(2));
  }

  /** Sum and normalisation. */
  static final class Forward implements Kernel<GatedResidualNorm> {
    private static final int[] LANES = {1, 2, 3, 5};
    private static final int[] LANES_F32 = {1, 2, 3, 6, 10};

    @Override
    public @Nullable String refuse(GatedResidualNorm op, Tensor[] in, Tensor[] out) {
      return NormRows.refuse(in, out);
    }

    @Override
    public void launch(GatedResidualNorm op, Tensor[] in, Tensor[] out) {
      Gpu gpu = Gpu.of(in[0]);
      NormRows rows = rows(gpu, in[0]);
      int bytes = in[0].dtype().bytes();
      try (Staging staging = new Staging(gpu)) {
        long x = staging.rowMajor(in[0]);
        long y = staging.rowMajor(in[1]);
        Vectors gate = Vectors.of(in[2], staging);
        Vectors shift = Vectors.of(in[3], staging);
        Vectors scale = Vectors.of(in[4], staging);
        long places = x | y | out[0].address() | out[1].address();
        places |= gate.places(bytes) | shift.places(bytes) | scale.places(bytes);
        Shape shape = shape(rows, bytes == 4 ? LANES_F32 : LANES, places);
        int all = rows.batches() * rows.per();
        Launch launch;
        if (shape == null) {
          launch = gpu.kernel(FAMILY, "gated_norm_any_" + Types.suffix(in[0].dtype()));
          launch.grid(all).block(Math.min(NormRows.roundUp(rows.n()), 1024));
        } else {
          boolean lanes = shape.threads == 0;
          int perBlock = lanes ? FORWARD_THREADS / 32 : 1;
          launch = gpu.kernel(FAMILY, shape.kernel("gated_norm", in[0].dtype()));
          launch.grid((all + perBlock - 1) / perBlock);
          launch.block(lanes ? FORWARD_THREADS : shape.threads);
        }
        launch
            .pointer(x)
            .pointer(y)
            .pointer(gate.address)
            .i64(gate.stride)
            .pointer(shift.address)
            .i64(shift.stride)
            .pointer(scale.address)
            .i64(scale.stride)
            .pointer(out[0])
            .pointer(out[1])
            .pointer(out[2])
            .pointer(out[3])
            .i32(all)
            .i32(rows.per())
            .i32(rows.n())
            .f32(op.eps())
            .run();
      }
    }
  }

  /** The gradients. */
  static final class Backward implements Kernel<GatedResidualNormBackward> {
    private static final int[] LANES = {1, 2, 3};
    private static final int[] LANES_F32 = {1, 2, 3, 6};

    /** Addresses of what comes in, in row-major order. */
    private record Given(long dz, long dh, long h, long y, long mean, long rstd) {
      Launch on(Launch launch) {
        return launch.pointer(dz).pointer(dh).pointer(h).pointer(y).pointer(mean).pointer(rstd);
      }
    }

    /** Where the sums of the modulation go; 0 if they are not wanted. */
    private record Sums(long gate, long shift, long scale) {
      static Sums of(GatedResidualNormBackward op, Tensor[] out) {
        return op.modulation()
            ? new Sums(out[2].address(), out[3].address(), out[4].address())
            : new Sums(0, 0, 0);
      }

      boolean wanted() {
        return gate != 0;
      }

      Launch on(Launch launch) {
        return launch.pointer(gate).pointer(shift).pointer(scale);
      }
    }

    @Override
    public @Nullable String refuse(GatedResidualNormBackward op, Tensor[] in, Tensor[] out) {
      return NormRows.refuse(in, out);
    }

    @Override
    public void launch(GatedResidualNormBackward op, Tensor[] in, Tensor[] out) {
      Gpu gpu = Gpu.of(in[0]);
      NormRows rows = rows(gpu, in[2]);
      int bytes = in[2].dtype().bytes();
      try (Staging staging = new Staging(gpu)) {
        Given given =
            new Given(
                staging.rowMajor(in[0]),
                staging.rowMajor(in[1]),
                staging.rowMajor(in[2]),
                op.modulation() ? staging.rowMajor(in[5]) : 0,
                NormRows.statistics(gpu, staging, in[3]),
                NormRows.statistics(gpu, staging, in[4]));
        Vectors gate = Vectors.of(in[6], staging);
        Vectors scale = Vectors.of(in[7], staging);
        long places = given.dz | given.dh | given.h | given.y | out[0].address();
        places |= out[1].address() | gate.places(bytes) | scale.places(bytes);
        Shape shape = shape(rows, bytes == 4 ? LANES_F32 : LANES, places);
        Sums sums = Sums.of(op, out);
        if (shape == null) {
          any(rows, given, gate, scale, sums, out);
        } else {
          inRegisters(rows, shape, given, gate, scale, sums, out);
        }
      }
    }

    private static void inRegisters(
        NormRows rows,
        Shape shape,
        Given given,
        Vectors gate,
        Vectors scale,
        Sums sums,
        Tensor[] out) {
      Gpu gpu = rows.gpu();
      boolean lanes = shape.threads == 0;
      int threads = lanes ? BACKWARD_THREADS : shape.threads;
      int held = shape.vectors * width(rows) <= 8 ? 2 : 1; // by the registers of the kernels
      int residents = lanes ? held : Math.clamp(LONGEST_BLOCK / threads, 1, 4);
      int chunks = rows.chunks(lanes ? threads / 32 : 1, gpu.multiprocessors() * residents);
      boolean parts = sums.wanted() && chunks > 1;
      try (Scratch part = gpu.scratch(parts ? partBytes(rows, chunks) : 0)) {
        Launch launch =
            gpu.kernel(FAMILY, shape.kernel("gated_norm_backward", rows.dtype()))
                .grid((long) rows.batches() * chunks)
                .block(threads)
                .shared(lanes ? threads * 3 * width(rows) * 4 : 0);
        given
            .on(launch)
            .pointer(gate.address)
            .i64(gate.stride)
            .pointer(scale.address)
            .i64(scale.stride)
            .pointer(out[0])
            .pointer(out[1])
            .pointer(part.address());
        sums.on(launch).i32(rows.per()).i32(chunks).i32(rows.n()).run();
        if (parts) {
          finish(rows, part.address(), sums, chunks);
        }
      }
    }

    private static void any(
        NormRows rows, Given given, Vectors gate, Vectors scale, Sums sums, Tensor[] out) {
      Gpu gpu = rows.gpu();
      String suffix = Types.suffix(rows.dtype());
      int n = rows.n();
      int all = rows.batches() * rows.per();
      int threads = Math.min(NormRows.roundUp(n), 256);
      int tiles = (n + threads - 1) / threads;
      long wanted = 8L * gpu.multiprocessors() / ((long) rows.batches() * tiles);
      int chunks = (int) Math.clamp(wanted, 1, (rows.per() + 15) / 16);
      boolean parts = sums.wanted() && chunks > 1;
      try (Scratch means = gpu.scratch(8L * all);
          Scratch part = gpu.scratch(parts ? partBytes(rows, chunks) : 0)) {
        given
            .on(
                gpu.kernel(FAMILY, "gated_norm_backward_any_" + suffix)
                    .grid(all)
                    .block(Math.min(NormRows.roundUp(n), 1024)))
            .pointer(gate.address)
            .i64(gate.stride)
            .pointer(scale.address)
            .i64(scale.stride)
            .pointer(out[0])
            .pointer(out[1])
            .pointer(means.address())
            .i32(rows.per())
            .i32(n)
            .run();
        if (!sums.wanted()) {
          return;
        }
        Launch launch =
            gpu.kernel(FAMILY, "gated_norm_sums_" + suffix)
                .grid((long) rows.batches() * chunks, tiles)
                .block(threads);
        given
            .on(launch)
            .pointer(scale.address)
            .i64(scale.stride)
            .pointer(means.address())
            .pointer(part.address());
        sums.on(launch).i32(rows.per()).i32(chunks).i32(n).run();
        if (parts) {
          finish(rows, part.address(), sums, chunks);
        }
      }
    }

    private static long partBytes(NormRows rows, int chunks) {
      return 12L * rows.batches() * chunks * rows.n();
    }

    private static void finish(NormRows rows, long part, Sums sums, int chunks) {
      Launch launch =
          rows.gpu()
              .kernel(FAMILY, "gated_norm_finish_" + Types.suffix(rows.dtype()))
              .grid((long) rows.batches() * ((rows.n() + 31) / 32))
              .block(32, 16)
              .pointer(part);
      sums.on(launch).i32(chunks).i32(rows.n()).run();
    }
  }
}
