// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Eager;
import io.sfumato.tensor.ops.Linear;
import io.sfumato.tensor.ops.LowRank;
import io.sfumato.tensor.ops.LowRankGradients;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * Times products on a GPU: this library's kernels and NVIDIA's, and low-rank layers beside frozen
 * ones. A program to be run by hand; its argument is how long each takes, in milliseconds.
 */
public final class GemmTimings {
  private static final Device GPU = new Device("cuda", 0);

  private final Gpu gpu = Gpu.of(0);
  private final double budget;

  private GemmTimings(double milliseconds) {
    budget = milliseconds * 1e6;
  }

  /** Prints a line per case. */
  public static void main(String[] arguments) {
    double budget = arguments.length > 0 ? Double.parseDouble(arguments[0]) : 200;
    Scope.run(() -> new GemmTimings(budget).run());
  }

  private void run() {
    NvidiaGemms nvidia = NvidiaGemms.open(gpu);
    int[][] shapes = {
      {4096, 4096, 4096},
      {16384, 1280, 1280},
      {4096, 1280, 1280},
      {16384, 1152, 4608},
      {8192, 4608, 1152},
      {1280, 1280, 16384},
      {16384, 16, 1280},
      {4096, 16, 1280},
      {16, 1280, 16384},
      {256, 1152, 1152},
      {16, 6912, 1152}
    };
    for (int[] s : shapes) {
      for (DType dtype : new DType[] {DType.BF16, DType.F32}) {
        for (int orders = 0; orders < 4; orders++) {
          boolean aByK = orders % 2 == 0;
          boolean bByK = orders < 2;
          Scope.run(() -> product(nvidia, dtype, s[0], s[1], s[2], aByK, bByK));
        }
      }
    }
    for (int tokens : new int[] {4096, 16384}) {
      for (int width : new int[] {320, 640, 1280, 3072}) {
        for (int rank : new int[] {8, 16, 64}) {
          Scope.run(() -> lowRank(tokens, width, rank));
        }
      }
    }
  }

  private void product(
      @Nullable NvidiaGemms nvidia, DType dtype, int m, int n, int k, boolean aByK, boolean bByK) {
    Product p = product(dtype, m, n, k, aByK, bByK);
    double own = time(() -> new OwnGemms().run(gpu, p));
    double other = nvidia == null ? Double.NaN : time(() -> nvidia.run(gpu, p));
    double flop = 2.0 * m * n * k;
    StringBuilder line = new StringBuilder();
    line.append(String.format("%s %d x %d x %d, ", dtype, m, n, k));
    line.append("A by ").append(aByK ? "k" : "rows").append(", B by ").append(bByK ? "k" : "rows");
    line.append(figure(": NVIDIA's", other, flop)).append(figure(", own", own, flop));
    for (OwnGemms.Tile tile : OwnGemms.Tile.values()) {
      if (tile.isHopper() && m > 64 && n > 64 && dtype.bytes() == 2 && gpu.capability() == 90) {
        double time = time(() -> OwnGemms.run(gpu, p, tile, 0));
        line.append(figure(", " + tile.name().toLowerCase(Locale.ROOT), time, flop));
      }
    }
    System.out.println(line);
  }

  private static String figure(String name, double nanoseconds, double flop) {
    return String.format(
        "%s %.1f us (%.0f TFLOP/s)", name, nanoseconds / 1e3, flop / nanoseconds / 1e3);
  }

  private void lowRank(int tokens, int width, int rank) {
    DType dtype = DType.BF16;
    Tensor x = normal(dtype, tokens, width);
    Tensor dy = normal(dtype, tokens, width);
    Tensor w = normal(dtype, width, width);
    Tensor a = normal(dtype, rank, width);
    Tensor b = normal(dtype, width, rank);
    Tensor bias = normal(dtype, width);
    double frozen = op(() -> Eager.INSTANCE.execute(new Linear(true), x, w, bias));
    Runnable call = () -> Eager.INSTANCE.execute(new LowRank(1, true), x, w, a, b, bias);
    Wgmma.allow(false);
    double layer = op(call);
    Wgmma.allow(true);
    double fused = op(call);
    Runnable gradient =
        () ->
            Eager.INSTANCE.execute(
                new LowRank(1, false), dy, w.transpose(0, 1), b.transpose(0, 1), a.transpose(0, 1));
    double back = op(gradient);
    Wgmma.allow(false);
    double backBefore = op(gradient);
    double gradients = op(() -> Eager.INSTANCE.execute(new LowRankGradients(1), dy, x, a, b));
    System.out.printf(
        "low rank %d, %d tokens of %d: linear %.1f us, low-rank %.1f us (%.2f), by wgmma"
            + " %.1f us (%.2f), gradient of x %.1f us, by wgmma %.1f us, gradients %.1f us%n",
        rank,
        tokens,
        width,
        frozen / 1e3,
        layer / 1e3,
        layer / frozen,
        fused / 1e3,
        fused / frozen,
        backBefore / 1e3,
        back / 1e3,
        gradients / 1e3);
  }

  private double op(Runnable op) {
    return time(() -> Scope.run(op::run));
  }

  private static Tensor normal(DType dtype, int... shape) {
    return Rng.seed(5).normal(new TensorSpec(Shape.of(shape), DType.F32, GPU)).to(dtype);
  }

  private static Product product(DType dtype, int m, int n, int k, boolean aByK, boolean bByK) {
    Tensor a = normal(dtype, m, k);
    Tensor b = normal(dtype, k, n);
    Tensor c = Tensor.empty(new TensorSpec(Shape.of(m, n), dtype, GPU));
    Matrices left = aByK ? Matrices.rowMajor(a.address(), k) : Matrices.of(a.address(), 1, m);
    Matrices right = bByK ? Matrices.of(b.address(), 1, k) : Matrices.rowMajor(b.address(), n);
    return Product.of(dtype, m, n, k, left, right, Matrices.rowMajor(c.address(), n));
  }

  /** Nanoseconds of a call, launched many times in a row. */
  private double time(Runnable call) {
    call.run();
    gpu.synchronize();
    double best = Double.MAX_VALUE;
    long end = System.nanoTime() + (long) budget;
    int count = 1;
    do {
      long start = System.nanoTime();
      for (int i = 0; i < count; i++) {
        call.run();
      }
      gpu.synchronize();
      double each = (System.nanoTime() - start) / (double) count;
      best = Math.min(best, each);
      count = Math.max(1, (int) (budget / 8 / each));
    } while (System.nanoTime() < end);
    return best;
  }
}
