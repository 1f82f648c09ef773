// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.DeviceException;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Eager;
import io.sfumato.tensor.ops.Attention;
import io.sfumato.tensor.ops.Attention.Mask;
import io.sfumato.tensor.ops.AttentionBackward;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * Times attention on a GPU: the kernels for Hopper, with what their results differ by from those of
 * the kernels that run everywhere, all tiles that can take a case, and those of {@code
 * attention_hopper_trials.cu}; on other devices the kernels that run everywhere. A program to be
 * run by hand; its arguments are how long each takes, in milliseconds, a divisor of batches and
 * lengths to try it out, and the head sizes (all). With {@code -Dsfumato.timings.old=true} the
 * kernels that run everywhere are timed on Hopper, too.
 */
public final class AttentionTimings {
  private static final Device DEVICE = new Device("cuda", 0);
  private static final int TOKENS = 16384;
  private static final int COLUMNS = 2048;
  private static final boolean OLD = Boolean.getBoolean("sfumato.timings.old");

  /** Other kernels, of {@code attention_hopper_trials.cu}: what is different, and the tile. */
  record Trial(String how, HopperTile tile) {
    AttentionTile kernel() {
      return AttentionTile.hopperForward("attention_hopper_trials", name(), tile);
    }

    String name() {
      return tile.name("attention_trial_" + how);
    }
  }

  static final List<Trial> TRIALS =
      List.of(
          trial("free", 72, 128, 2),
          trial("ahead", 64, 128, 3),
          trial("ahead", 128, 128, 2),
          trial("turns", 96, 96, 3),
          trial("free", 128, 160, 2),
          trial("free", 80, 80, 3));

  private static Trial trial(String how, int width, int keys, int groups) {
    return new Trial(how, new HopperTile(width, keys, groups, how.startsWith("ahead"), 0, 0));
  }

  private final Gpu gpu = Gpu.of(0);
  private final LaunchTimer timer;
  private final int divisor;
  private final List<Integer> widths;

  private AttentionTimings(double milliseconds, int divisor, List<Integer> widths) {
    timer = new LaunchTimer(gpu, milliseconds * 1e6);
    this.divisor = divisor;
    this.widths = widths;
  }

  /** Prints lines of each case. */
  public static void main(String[] arguments) {
    List<String> given = List.of(arguments);
    double budget = given.isEmpty() ? 30 : Double.parseDouble(given.getFirst());
    int divisor = given.size() < 2 ? 1 : Integer.parseInt(given.get(1));
    List<Integer> widths =
        given.size() < 3
            ? List.of(40, 64, 72, 80, 96, 128, 160, 256)
            : given.stream().skip(2).map(Integer::valueOf).toList();
    Scope.run(() -> new AttentionTimings(budget, divisor, widths).run());
  }

  private void run() {
    System.out.println(gpu.name() + ", " + gpu.multiprocessors() + " multiprocessors");
    Tensor f32 = Rng.seed(1).normal(TOKENS * COLUMNS / divisor + (1 << 16)).to(DEVICE);
    Tensor pool = f32.to(DType.BF16);
    int tokens = TOKENS / divisor;
    for (int d : widths) {
      int heads = COLUMNS / d;
      for (int n : new int[] {1024, 4096, 16384}) {
        int length = n / divisor;
        Scope.run(() -> time(pool, tokens / length, heads, length, length, d, false, Mask.NONE));
      }
      int length = 4096 / divisor;
      int batch = tokens / length;
      Scope.run(() -> time(pool, batch, heads, length, length, d, true, Mask.NONE));
      Scope.run(() -> time(pool, batch, heads, length, length, d, false, Mask.KEEP));
      Scope.run(() -> time(pool, batch, heads, length, length, d, false, Mask.ADD));
      Scope.run(() -> time(pool, batch, heads, length, 77, d, false, Mask.NONE));
    }
    int heads = Math.max(1, 16 / divisor); // of DiT-XL/2, at 256 and at 512 pixels
    Scope.run(() -> time(pool, 32, heads, 256, 256, 72, false, Mask.NONE));
    Scope.run(() -> time(pool, 8, heads, 1024, 1024, 72, false, Mask.NONE));
  }

  /** Masks of bytes are [1, 1, 1, Lk] and let the first half be seen, others [1, 1, Lq, Lk]. */
  private static Tensor mask(Tensor pool, int lq, int lk, Mask mask) {
    if (mask == Mask.ADD) {
      return pool.slice(0, 0, lq * lk).reshape(1, 1, lq, lk);
    }
    double[] keep = new double[lk];
    Arrays.fill(keep, 0, lk / 2, 1);
    return Tensor.of(keep, DType.BOOL, DEVICE, 1, 1, 1, lk);
  }

  private void time(Tensor pool, int b, int h, int lq, int lk, int d, boolean causal, Mask mask) {
    Attention op = new Attention(1 / Math.sqrt(d), causal, mask);
    List<Tensor> operands = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      operands.add(rows(pool, b, i == 0 ? lq : lk, h, d, i + 1));
    }
    if (mask != Mask.NONE) {
      operands.add(mask(pool, lq, lk, mask));
    }
    Tensor[] in = operands.toArray(Tensor[]::new);
    Tensor dy = rows(pool, b, lq, h, d, 4);
    Wgmma.allow(false);
    Tensor[] y = Eager.INSTANCE.execute(op, in);
    operands.addAll(List.of(y[0], y[1], dy));
    Tensor[] full = operands.toArray(Tensor[]::new);
    AttentionBackward gradients = new AttentionBackward(op);
    Tensor[] dx = Eager.INSTANCE.execute(gradients, full);
    double work = 4.0 * b * h * lq * lk * d * (causal ? 0.5 : 1);
    String what =
        String.format(
            Locale.ROOT,
            "%d x %d heads %d x %d x %d%s%s",
            b,
            h,
            lq,
            lk,
            d,
            causal ? " causal" : "",
            mask == Mask.NONE ? "" : " mask to " + mask.name().toLowerCase(Locale.ROOT));
    if (OLD || gpu.capability() != 90) {
      double forward = timer.each(() -> Eager.INSTANCE.execute(op, in));
      double backward = timer.each(() -> Eager.INSTANCE.execute(gradients, full));
      what += ": forward " + text(forward, work) + ", backward " + text(backward, 2.5 * work);
    }
    System.out.println(what);
    Wgmma.allow(true);
    try {
      AttentionTile chosen = AttentionTile.forward(gpu, op, in, 3);
      if (!chosen.hopper()) {
        return;
      }
      hopper(op, in, y, full, dx, work);
      if (mask != Mask.NONE) {
        return;
      }
      if (causal) { // a block for each tile, the longest of all heads first
        long heads = (long) b * h;
        int tiles = Math.ceilDiv(lq, chosen.rows());
        int[] share = {(int) heads, tiles, (int) heads, 0};
        trial("one tile a block", op, in, y, work, chosen, (int) heads * tiles, share);
      }
      for (HopperTile t : HopperTile.PLAIN) {
        if (t.width() == d && !chosen.name().contains(t.name(""))) {
          String name = t.name("attention_hopper_forward") + "_bf16";
          AttentionTile tile =
              AttentionTile.hopperForward("attention_hopper_forward_bf16", name, t);
          trial(name, op, in, y, work, tile, 0, null);
        }
      }
      for (Trial t : TRIALS) {
        if (t.tile.width() == d) {
          trial(t.name(), op, in, y, work, t.kernel(), 0, null);
        }
      }
    } finally {
      Wgmma.allow(false);
    }
  }

  private void hopper(
      Attention op, Tensor[] in, Tensor[] y, Tensor[] full, Tensor[] dx, double work) {
    Tensor[] got = Eager.INSTANCE.execute(op, in);
    double forward = timer.each(() -> Eager.INSTANCE.execute(op, in));
    String name = AttentionTile.forward(gpu, op, in, 3).name().replace("attention_hopper_", "");
    String line = "  " + name + ": " + text(forward, work) + ", o off by ";
    line += difference(y[0], got[0]);
    if (AttentionTile.backward(gpu, op, in, 3).hopper()) {
      AttentionBackward gradients = new AttentionBackward(op);
      Tensor[] back = Eager.INSTANCE.execute(gradients, full);
      double backward = timer.each(() -> Eager.INSTANCE.execute(gradients, full));
      line += ", backward " + text(backward, 2.5 * work) + ", off by";
      for (int i = 0; i < 3; i++) {
        line += " " + difference(dx[i], back[i]);
      }
    }
    System.out.println(line);
  }

  private void trial(
      String name,
      Attention op,
      Tensor[] in,
      Tensor[] y,
      double work,
      AttentionTile tile,
      int grid,
      int @Nullable [] share) {
    String line = "  " + name.replace("attention_", "") + ": ";
    try {
      Tensor[] got = {Tensor.empty(y[0].spec()), Tensor.empty(y[1].spec())};
      AttentionLaunch.Forward.run(op, in, got, tile, grid, share);
      double forward =
          timer.each(() -> AttentionLaunch.Forward.run(op, in, got, tile, grid, share));
      System.out.println(line + text(forward, work) + ", o off by " + difference(y[0], got[0]));
    } catch (DeviceException e) {
      System.out.println(line + e.getMessage());
    }
  }

  /** The largest difference in the first head, relative to the largest value. */
  private static String difference(Tensor expected, Tensor got) {
    float[] x = first(expected);
    float[] y = first(got);
    double most = 0;
    double off = 0;
    for (int i = 0; i < x.length; i++) {
      most = Math.max(most, Math.abs(x[i]));
      double difference = Math.abs(x[i] - y[i]);
      off = difference <= off ? off : difference; // NaN stays
    }
    return String.format(Locale.ROOT, "%.1e", off / most);
  }

  private static float[] first(Tensor t) {
    return t.slice(0, 0, 1).slice(1, 0, 1).to(DType.F32).toFloatArray();
  }

  private static String text(double nanoseconds, double work) {
    return String.format(
        Locale.ROOT, "%.1f us (%.0f TFLOP/s)", nanoseconds * 1e-3, work / nanoseconds * 1e-3);
  }

  /** [B, H, L, D], in memory [B, L, H, D]: a piece of the pool that begins elsewhere each time. */
  private static Tensor rows(Tensor pool, int b, int l, int h, int d, int piece) {
    int start = piece * 8000;
    return pool.slice(0, start, start + b * l * h * d).reshape(b, l, h, d).transpose(1, 2);
  }
}
