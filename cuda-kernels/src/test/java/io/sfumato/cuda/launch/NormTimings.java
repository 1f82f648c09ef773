// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.launch.GroupNormClusters.Room;
import io.sfumato.cuda.launch.GroupNormSlabs.Problem;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.DeviceException;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Eager;
import io.sfumato.tensor.ops.GroupNorm;
import io.sfumato.tensor.ops.GroupNormBackward;
import io.sfumato.tensor.ops.LayerNorm;
import io.sfumato.tensor.ops.LayerNormBackward;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * Times normalisations on a GPU: group normalisation in clusters of blocks, with each tile that
 * fits, beside the kernels that run everywhere, and layer normalisation. Shares are of the
 * bandwidth of a copy in the same run, each tensor counted once. A program to be run by hand; its
 * arguments are how long each takes, in milliseconds, and a divisor of sizes to try it out.
 */
public final class NormTimings {
  private static final Device DEVICE = new Device("cuda", 0);
  private static final double EPS = 1e-5;
  private static final int GROUPS = 32;
  private static final int WIDEST = 640; // bytes of a tile
  private static final int SECTOR = 32;
  private static final int MOST_RESIDENT = 4;
  private static final long WARM_UP = 500_000_000; // nanoseconds

  private final Gpu gpu = Gpu.of(0);
  private final LaunchTimer timer;
  private final int divisor;
  private double copy; // bytes per nanosecond

  private NormTimings(double milliseconds, int divisor) {
    timer = new LaunchTimer(gpu, milliseconds * 1e6);
    this.divisor = divisor;
  }

  /** Prints a line per variant. */
  public static void main(String[] arguments) {
    double budget = arguments.length > 0 ? Double.parseDouble(arguments[0]) : 20;
    int divisor = arguments.length > 1 ? Integer.parseInt(arguments[1]) : 1;
    Scope.run(() -> new NormTimings(budget, divisor).run());
  }

  private void run() {
    long bytes = (1L << 29) / divisor;
    long from = gpu.memory().allocate(bytes);
    long to = gpu.memory().allocate(bytes);
    gpu.zero(from, bytes);
    long end = System.nanoTime() + WARM_UP;
    while (System.nanoTime() < end) {
      timer.row(() -> gpu.copy(to, from, bytes), 10);
    }
    copy = 2 * bytes / timer.each(() -> gpu.copy(to, from, bytes));
    gpu.memory().free(from);
    gpu.memory().free(to);
    System.out.printf(
        Locale.ROOT,
        "%s, %d multiprocessors, copies %.0f GB/s%n",
        gpu.name(),
        gpu.multiprocessors(),
        copy);
    int[][] shapes = {{32, 64, 320}, {8, 128, 320}, {32, 32, 640}, {32, 16, 1280}};
    for (int[] s : shapes) {
      for (DType dtype : new DType[] {DType.BF16, DType.F32}) {
        Scope.run(() -> groups(dtype, Math.max(1, s[0] / divisor), s[1] / divisor, s[2]));
      }
    }
    for (DType dtype : new DType[] {DType.BF16, DType.F32}) {
      Scope.run(() -> rows(dtype, 65536 / divisor, 1152));
    }
  }

  private static Tensor normal(DType dtype, int seed, int... shape) {
    return Rng.seed(seed).normal(new TensorSpec(Shape.of(shape), DType.F32, DEVICE)).to(dtype);
  }

  // ---- group normalisation

  private void groups(DType dtype, int n, int side, int channels) {
    Tensor x = normal(dtype, 1, n, side, side, channels).permute(0, 3, 1, 2);
    Tensor dy = normal(dtype, 2, n, side, side, channels).permute(0, 3, 1, 2);
    Tensor w = normal(dtype, 3, channels);
    Tensor b = normal(dtype, 4, channels);
    GroupNorm op = new GroupNorm(GROUPS, EPS, true, true, true);
    GroupNormBackward gradients = new GroupNormBackward(op, true, true);
    String what = dtype + " " + n + " x " + side + " x " + side + " x " + channels;
    double size = (double) x.numel() * dtype.bytes();
    System.setProperty(GroupNormClusters.PROPERTY, "off");
    Tensor[] y = Eager.INSTANCE.execute(op, x, w, b);
    Tensor[] dx = Eager.INSTANCE.execute(gradients, dy, x, y[1], y[2], w, b);
    double forward = timer.each(() -> Eager.INSTANCE.execute(op, x, w, b));
    double back = timer.each(() -> Eager.INSTANCE.execute(gradients, dy, x, y[1], y[2], w, b));
    System.setProperty(GroupNormClusters.PROPERTY, "on");
    if (gpu.capability() != 90) {
      return;
    }
    Problem p = GroupNormLaunch.problem(op, x, y[0]);
    say("group norm " + what + " forward before", forward, 2 * size, "");
    Tensor[] out = Eager.INSTANCE.execute(op, x, w, b);
    for (GroupNormClusters plan : plans(p, 1)) {
      Runnable call =
          () ->
              GroupNormLaunch.Forward.clustered(
                  gpu, op, plan, x.address(), w.address(), b.address(), out);
      trial(text(plan, GroupNormClusters.of(Room.of(gpu), p, 1, null)), call, 2 * size, y, out);
    }
    say("group norm " + what + " backward before", back, 3 * size, "");
    Tensor[] into = Eager.INSTANCE.execute(gradients, dy, x, y[1], y[2], w, b);
    GroupNormLaunch.Backward.Operands operands =
        GroupNormClustersTest.operands(dy, x, y, w, b, into);
    for (GroupNormClusters plan : plans(p, 2)) {
      Runnable call = () -> GroupNormLaunch.Backward.clustered(gpu, op, p, plan, operands, into[0]);
      trial(text(plan, GroupNormClusters.of(Room.of(gpu), p, 2, null)), call, 3 * size, dx, into);
    }
  }

  /** Tiles of whole sectors that fill at least a third of a multiprocessor's shared memory. */
  private List<GroupNormClusters> plans(Problem p, int tensors) {
    List<GroupNormClusters> all = new ArrayList<>();
    for (int tile : GroupNormClusters.tiles(p).toArray()) {
      int bytes = tile * 16 / p.width();
      if (bytes > WIDEST || bytes % SECTOR != 0) {
        continue;
      }
      for (int resident = 1; resident <= MOST_RESIDENT; resident++) {
        GroupNormClusters plan = GroupNormClusters.of(Room.of(gpu), p, tensors, tile, resident);
        if (plan != null && 3L * resident * plan.shared() >= gpu.sharedPerBlock()) {
          all.add(plan);
        }
      }
    }
    return all;
  }

  private static String text(GroupNormClusters plan, @Nullable GroupNormClusters best) {
    return String.format(
        Locale.ROOT,
        "  %d channels, %d KB, %d x %d threads, %d items%s",
        plan.slabs().tile(),
        plan.shared() >> 10,
        plan.resident(),
        plan.slabs().threads(),
        plan.items(),
        plan.equals(best) ? " (chosen)" : "");
  }

  // ---- layer normalisation

  private void rows(DType dtype, int rows, int n) {
    Tensor x = normal(dtype, 1, rows, n);
    Tensor dy = normal(dtype, 2, rows, n);
    Tensor w = normal(dtype, 3, n);
    Tensor b = normal(dtype, 4, n);
    LayerNorm op = new LayerNorm(1, EPS, true, true);
    LayerNormBackward gradients = new LayerNormBackward(1, EPS, true, true, true);
    double size = (double) x.numel() * dtype.bytes();
    Tensor[] y = Eager.INSTANCE.execute(op, x, w, b);
    String what = "layer norm " + dtype + " " + rows + " x " + n;
    say(what + " forward", timer.each(() -> Eager.INSTANCE.execute(op, x, w, b)), 2 * size, "");
    double back = timer.each(() -> Eager.INSTANCE.execute(gradients, dy, x, y[1], y[2], w));
    say(what + " backward", back, 3 * size, "");
  }

  // ---- helpers

  private void trial(String what, Runnable call, double bytes, Tensor[] want, Tensor[] got) {
    try {
      for (Tensor t : got) {
        gpu.zero(t.address(), t.numel() * t.dtype().bytes());
      }
      call.run();
      StringBuilder off = new StringBuilder(", off by");
      for (int i = 0; i < want.length; i++) {
        off.append(' ').append(difference(want[i], got[i]));
      }
      say(what, timer.each(call), bytes, off.toString());
    } catch (DeviceException e) {
      System.out.println(what + ": " + e.getMessage());
    }
  }

  private void say(String what, double nanoseconds, double bytes, String more) {
    double rate = bytes / nanoseconds;
    System.out.printf(
        Locale.ROOT,
        "%s: %.1f us, %.0f GB/s, %.2f of a copy%s%n",
        what,
        nanoseconds * 1e-3,
        rate,
        rate / copy,
        more);
  }

  /** The largest difference in the first and last of axis 0, relative to the largest value. */
  private static String difference(Tensor expected, Tensor got) {
    double most = 0;
    double off = 0;
    int last = expected.dim(0) - 1;
    for (int i : new int[] {0, last}) {
      float[] x = piece(expected, i);
      float[] y = piece(got, i);
      for (int j = 0; j < x.length; j++) {
        most = Math.max(most, Math.abs(x[j]));
        double difference = Math.abs(x[j] - y[j]);
        off = difference <= off ? off : difference; // NaN stays
      }
    }
    return String.format(Locale.ROOT, "%.1e", off / most);
  }

  /** One of axis 0, of images the last 8 lines. */
  private static float[] piece(Tensor t, int i) {
    Tensor one = t.slice(0, i, i + 1);
    int lines = one.rank() == 4 ? one.dim(2) : 0;
    return (lines > 8 ? one.slice(2, lines - 8, lines) : one).to(DType.F32).toFloatArray();
  }
}
