// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.driver.Launch;
import io.sfumato.cuda.launch.GroupNormClusters.Room;
import io.sfumato.cuda.launch.GroupNormSlabs.Problem;
import io.sfumato.cuda.memory.Scratch;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.ops.GroupNorm;
import io.sfumato.tensor.ops.GroupNormBackward;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** Group normalisation, in the memory order of the result. */
final class GroupNormLaunch {
  private static final int FORWARD_THREADS = 512;
  private static final int BACKWARD_THREADS = 256;
  private static final int ANY_THREADS = 512;

  /**
   * What a turn may read. Turns that fit into the second cache (22 MB) were a third slower on an
   * H200 than one pass over everything after another, so all is one turn.
   */
  private static final long TURN_KILOBYTES = 1L << 40;

  private GroupNormLaunch() {}

  static KernelTable addTo(KernelTable table) {
    return table.add(GroupNorm.class, new Forward()).add(GroupNormBackward.class, new Backward());
  }

  /** Neighbours in memory are channels: channels-last, or there is but one pixel. */
  static Problem problem(GroupNorm op, Tensor x, Tensor y) {
    int pixels = Math.toIntExact(x.numel() / ((long) x.dim(0) * x.dim(1)));
    boolean last = pixels == 1 || !y.layout().isContiguous();
    return new Problem(x.dim(0), x.dim(1), op.groups(), pixels, last, 16 / x.dtype().bytes());
  }

  private static boolean aligned(long... addresses) {
    long all = 0;
    for (long address : addresses) {
      all |= address;
    }
    return all % 16 == 0;
  }

  private static String name(String stem, Problem p, Tensor x) {
    return stem + (p.last() ? "_last_" : "_first_") + Types.suffix(x.dtype());
  }

  private static String fusedName(String stem, Problem p, GroupNormSlabs slabs, Tensor x) {
    return stem
        + (p.last() ? "_last_k" : "_first_k")
        + slabs.vectors()
        + "_"
        + Types.suffix(x.dtype());
  }

  /**
   * How samples that are read twice go through the device: {@code size} at a time, in {@code count}
   * turns. A launch reads some for the first time and the ones before for the second time.
   */
  private record Turns(Problem problem, GroupNormSlabs slabs, int size, int count) {
    /**
     * The turns, or null if there are no slabs of the problem.
     *
     * @param tensors how many tensors are read twice
     * @param threads threads of a block
     * @param blocks blocks that the device holds at once
     */
    static @Nullable Turns of(Problem p, int tensors, int threads, int blocks) {
      long bytes = Long.getLong("sfumato.cuda.groupnorm.turn", TURN_KILOBYTES) << 10;
      long one = tensors * p.bytes();
      long most = Math.max(1, bytes / one);
      boolean whole = p.samples() * one <= bytes + bytes / 2;
      int count = whole ? 1 : (int) ((p.samples() + most - 1) / most);
      int size = (p.samples() + count - 1) / count;
      count = (p.samples() + size - 1) / size;
      GroupNormSlabs slabs =
          GroupNormSlabs.chunked(p.with(size), threads, count == 1 ? blocks : blocks / 2);
      return slabs == null ? null : new Turns(p, slabs, size, count);
    }

    /** Blocks of the slabs before a turn. */
    private int before(int turn) {
      int samples = Math.clamp((long) turn * size, 0, problem.samples());
      return Math.toIntExact(slabs.blocks(samples));
    }

    /** Runs the launches, each with what they take before the last two arguments. */
    void run(Supplier<Launch> kernel) {
      for (int turn = 0; turn <= count; turn++) {
        int second = before(turn - 1);
        int first = before(turn);
        int end = before(turn + 1);
        kernel
            .get()
            .grid((long) end - second)
            .ints(first, end - first, second, first - second)
            .i32(count == 1 ? 0 : 1)
            .run();
      }
    }
  }

  /** The normalisation. */
  static final class Forward implements Kernel<GroupNorm> {
    private static final String FAMILY = "groupnorm";
    private static final String CLUSTER = "groupnorm_cluster";

    @Override
    public @Nullable String refuse(GroupNorm op, Tensor[] in, Tensor[] out) {
      return NormRows.refuse(in, out);
    }

    @Override
    public void launch(GroupNorm op, Tensor[] in, Tensor[] out) {
      Gpu gpu = Gpu.of(in[0]);
      Problem p = problem(op, in[0], out[0]);
      try (Staging staging = new Staging(gpu)) {
        long x =
            out[0].layout().isContiguous() ? staging.rowMajor(in[0]) : staging.channelsLast(in[0]);
        long w = op.weight() ? staging.rowMajor(in[1]) : 0;
        long b = op.bias() ? staging.rowMajor(in[op.weight() ? 2 : 1]) : 0;
        boolean aligned = aligned(x, out[0].address());
        int processors = gpu.multiprocessors();
        GroupNormSlabs fused =
            aligned ? GroupNormSlabs.fused(p, FORWARD_THREADS, processors) : null;
        GroupNormClusters clusters =
            aligned && GroupNormClusters.areOn(gpu)
                ? GroupNormClusters.of(Room.of(gpu), p, 1, fused)
                : null;
        Turns turns =
            aligned && fused == null ? Turns.of(p, 1, FORWARD_THREADS, 2 * processors) : null;
        if (clusters != null) {
          clustered(gpu, op, clusters, x, w, b, out);
        } else if (fused != null) {
          fused(gpu, op, p, fused, x, w, b, out);
        } else if (turns != null) {
          inTurns(gpu, op, p, turns, x, w, b, out);
        } else {
          any(gpu, op, p, x, w, b, out);
        }
      }
    }

    private static void fused(
        Gpu gpu,
        GroupNorm op,
        Problem p,
        GroupNormSlabs slabs,
        long x,
        long w,
        long b,
        Tensor[] out) {
      gpu.kernel(FAMILY, fusedName("group_norm_fused", p, slabs, out[0]))
          .grid(slabs.blocks(p.samples()))
          .block(slabs.threads())
          .shared(4 * (2 * slabs.tiled() + slabs.entries(p.last(), p.width())))
          .pointer(x)
          .pointer(out[0])
          .pointer(w)
          .pointer(b)
          .pointer(out[1])
          .pointer(out[2])
          .ints(slabs.ints())
          .f32(op.eps())
          .i32(op.silu() ? 1 : 0)
          .run();
    }

    static void clustered(
        Gpu gpu, GroupNorm op, GroupNormClusters clusters, long x, long w, long b, Tensor[] out) {
      gpu.kernel(CLUSTER, "group_norm_cluster_" + Types.suffix(out[0].dtype()))
          .grid(clusters.blocks())
          .block(clusters.slabs().threads())
          .shared(clusters.shared())
          .pointer(x)
          .pointer(out[0])
          .pointer(w)
          .pointer(b)
          .pointer(out[1])
          .pointer(out[2])
          .ints(clusters.slabs().ints())
          .f32(op.eps())
          .i32(op.silu() ? 1 : 0)
          .run();
    }

    private static void inTurns(
        Gpu gpu, GroupNorm op, Problem p, Turns turns, long x, long w, long b, Tensor[] out) {
      GroupNormSlabs slabs = turns.slabs;
      int shared = Math.max(slabs.entries(p.last(), p.width()), slabs.tiled());
      try (Scratch part = gpu.scratch(8L * p.samples() * slabs.chunks() * p.groups())) {
        turns.run(
            () ->
                gpu.kernel(FAMILY, name("group_norm_step", p, out[0]))
                    .block(slabs.threads())
                    .shared(8 * shared)
                    .pointer(x)
                    .pointer(out[0])
                    .pointer(w)
                    .pointer(b)
                    .pointer(part.address())
                    .pointer(out[1])
                    .pointer(out[2])
                    .ints(slabs.ints())
                    .f32(op.eps())
                    .i32(op.silu() ? 1 : 0));
      }
    }

    private static void any(
        Gpu gpu, GroupNorm op, Problem p, long x, long w, long b, Tensor[] out) {
      gpu.kernel(FAMILY, "group_norm_any_" + Types.suffix(out[0].dtype()))
          .grid((long) p.samples() * p.groups())
          .block(ANY_THREADS)
          .pointer(x)
          .pointer(out[0])
          .pointer(w)
          .pointer(b)
          .pointer(out[1])
          .pointer(out[2])
          .i32(p.groups())
          .i32(p.per())
          .i32(p.pixels())
          .i32(p.last() ? 1 : 0)
          .f32(op.eps())
          .i32(op.silu() ? 1 : 0)
          .run();
    }
  }

  /** The gradients. */
  static final class Backward implements Kernel<GroupNormBackward> {
    private static final String FAMILY = "groupnorm_backward";
    private static final String CLUSTER = "groupnorm_cluster_backward";

    /** Addresses; 0 where there is none. */
    record Operands(
        long dy, long x, long mean, long rstd, long w, long b, long dx, long dw, long db) {
      /** Passes what all kernels of the gradients read. */
      Launch pass(Launch launch) {
        return launch.pointer(dy).pointer(x).pointer(mean).pointer(rstd).pointer(w).pointer(b);
      }
    }

    @Override
    public @Nullable String refuse(GroupNormBackward op, Tensor[] in, Tensor[] out) {
      return NormRows.refuse(in, out);
    }

    @Override
    public void launch(GroupNormBackward op, Tensor[] in, Tensor[] out) {
      Gpu gpu = Gpu.of(in[0]);
      GroupNorm forward = op.forward();
      Problem p = problem(forward, in[1], out[0]);
      try (Staging staging = new Staging(gpu)) {
        boolean first = out[0].layout().isContiguous();
        Operands a =
            new Operands(
                first ? staging.rowMajor(in[0]) : staging.channelsLast(in[0]),
                first ? staging.rowMajor(in[1]) : staging.channelsLast(in[1]),
                NormRows.statistics(gpu, staging, in[2]),
                NormRows.statistics(gpu, staging, in[3]),
                forward.weight() ? staging.rowMajor(in[4]) : 0,
                forward.bias() ? staging.rowMajor(in[forward.weight() ? 5 : 4]) : 0,
                out[0].address(),
                op.dw() ? out[1].address() : 0,
                op.db() ? out[op.dw() ? 2 : 1].address() : 0);
        boolean aligned = aligned(a.x, a.dy, a.dx);
        int processors = gpu.multiprocessors();
        GroupNormSlabs fused =
            aligned ? GroupNormSlabs.fused(p, BACKWARD_THREADS, processors) : null;
        GroupNormClusters clusters =
            aligned && GroupNormClusters.areOn(gpu)
                ? GroupNormClusters.of(Room.of(gpu), p, 2, fused)
                : null;
        Turns turns =
            aligned && fused == null ? Turns.of(p, 2, BACKWARD_THREADS, 3 * processors) : null;
        if (clusters != null) {
          clustered(gpu, forward, p, clusters, a, out[0]);
        } else if (turns != null) {
          inTurns(gpu, forward, p, turns, a, out[0]);
        } else {
          direct(gpu, forward, p, fused, a, out[0]);
        }
      }
    }

    /** A block per tile, or per group if there are no slabs. */
    private static void direct(
        Gpu gpu, GroupNorm op, Problem p, @Nullable GroupNormSlabs slabs, Operands a, Tensor dx) {
      boolean sums = a.dw != 0 || a.db != 0;
      boolean single = p.samples() == 1 && slabs != null;
      long bytes = sums && !single ? 8L * p.samples() * p.channels() : 0;
      try (Scratch part = gpu.scratch(bytes)) {
        if (slabs != null) {
          a.pass(
                  gpu.kernel(FAMILY, fusedName("group_norm_backward_fused", p, slabs, dx))
                      .grid(slabs.blocks(p.samples()))
                      .block(slabs.threads())
                      .shared(4 * slabs.channelSums()))
              .pointer(a.dx)
              .pointer(part.address())
              .pointer(single ? a.dw : 0)
              .pointer(single ? a.db : 0)
              .ints(slabs.ints())
              .i32(op.silu() ? 1 : 0)
              .run();
        } else {
          a.pass(
                  gpu.kernel(FAMILY, "group_norm_backward_any_" + Types.suffix(dx.dtype()))
                      .grid((long) p.samples() * p.groups())
                      .block(ANY_THREADS))
              .pointer(a.dx)
              .pointer(part.address())
              .i32(p.groups())
              .i32(p.per())
              .i32(p.pixels())
              .i32(p.last() ? 1 : 0)
              .i32(op.silu() ? 1 : 0)
              .run();
        }
        if (bytes != 0) {
          finish(gpu, p, part.address(), p.samples(), a, dx);
        }
      }
    }

    static void clustered(
        Gpu gpu, GroupNorm op, Problem p, GroupNormClusters clusters, Operands a, Tensor dx) {
      boolean sums = a.dw != 0 || a.db != 0;
      try (Scratch part = gpu.scratch(sums ? 8L * p.samples() * p.channels() : 0)) {
        a.pass(
                gpu.kernel(CLUSTER, "group_norm_backward_cluster_" + Types.suffix(dx.dtype()))
                    .grid(clusters.blocks())
                    .block(clusters.slabs().threads())
                    .shared(clusters.shared()))
            .pointer(a.dx)
            .pointer(part.address())
            .ints(clusters.slabs().ints())
            .i32(op.silu() ? 1 : 0)
            .run();
        if (sums) {
          finish(gpu, p, part.address(), p.samples(), a, dx);
        }
      }
    }

    private static void inTurns(
        Gpu gpu, GroupNorm op, Problem p, Turns turns, Operands a, Tensor dx) {
      GroupNormSlabs slabs = turns.slabs;
      long chunks = (long) p.samples() * slabs.chunks();
      boolean sums = a.dw != 0 || a.db != 0;
      try (Scratch channels = gpu.scratch(8L * chunks * p.channels());
          Scratch groups = gpu.scratch(8L * chunks * p.groups());
          Scratch joined = gpu.scratch(sums ? 8L * p.samples() * p.channels() : 0)) {
        turns.run(
            () ->
                a.pass(
                        gpu.kernel(FAMILY, name("group_norm_backward_step", p, dx))
                            .block(slabs.threads())
                            .shared(4 * slabs.channelSums()))
                    .pointer(channels.address())
                    .pointer(groups.address())
                    .pointer(joined.address())
                    .pointer(a.dx)
                    .ints(slabs.ints())
                    .i32(op.silu() ? 1 : 0));
        if (sums) {
          finish(gpu, p, joined.address(), p.samples(), a, dx);
        }
      }
    }

    /** Adds up sums [rows, 2, C] into the gradients of weight and bias. */
    private static void finish(Gpu gpu, Problem p, long sums, int rows, Operands a, Tensor dx) {
      NormRows.finish(gpu, dx.dtype(), sums, a.dw, a.db, p.channels(), 1, rows, p.channels());
    }
  }
}
