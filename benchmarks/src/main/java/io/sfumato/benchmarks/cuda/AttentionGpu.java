// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.cuda;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Eager;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.Attention;
import io.sfumato.tensor.ops.AttentionBackward;
import java.util.Arrays;
import java.util.Locale;

/**
 * TFLOP/s of attention on the first GPU: 16384 tokens, 2048 columns over all heads, then f32 at
 * small shapes. Counts 4 B H Lq Lk D operations forward and 2.5 times as many backward, half of
 * each if causal. Arguments: the seconds of one measurement, and the head sizes to measure.
 */
public final class AttentionGpu {
  private static final Device DEVICE = new Device("cuda", 0);
  private static final int TOKENS = 16384;
  private static final int COLUMNS = 2048;
  private static final double TERA = 1e12;

  private AttentionGpu() {}

  /** Prints one line for each head size and length. */
  public static void main(String[] args) {
    double seconds = args.length > 0 ? Double.parseDouble(args[0]) : 0.03;
    int[] widths =
        args.length > 1
            ? Arrays.stream(args).skip(1).mapToInt(Integer::parseInt).toArray()
            : new int[] {40, 64, 72, 80, 128, 160, 256};
    Gpu gpu = Gpu.of(0);
    System.out.println(gpu.name() + ", " + gpu.multiprocessors() + " multiprocessors");
    System.out.println(
        "type  B    H   Lq    Lk    D    mask    fwd TF/s  bwd TF/s  fwd us   bwd us");
    try (Scope scope = Scope.open()) {
      Tensor f32 = Rng.seed(1).normal(TOKENS * COLUMNS + (1 << 16)).to(DEVICE);
      Tensor bf16 = f32.to(DType.BF16);
      Tensor f16 = f32.to(DType.F16);
      for (int d : widths) {
        int heads = Math.max(1, COLUMNS / d);
        for (int n : new int[] {1024, 4096, 16384}) {
          measure(bf16, TOKENS / n, heads, n, n, d, false, seconds);
        }
        measure(bf16, TOKENS / 4096, heads, 4096, 4096, d, true, seconds);
      }
      measure(f16, 4, 16, 4096, 4096, 128, false, seconds);
      measure(bf16, 32, 16, 256, 256, 72, false, seconds); // DiT-XL/2, 256 pixels
      measure(bf16, 8, 16, 1024, 1024, 72, false, seconds); // 512 pixels
      measure(bf16, 4, 8, 4096, 77, 40, false, seconds); // SD 1.5, text
      measure(bf16, 1, 8, 4096, 4096, 40, false, seconds);
      measure(f32, 4, 6, 256, 256, 64, false, seconds);
      measure(f32, 4, 6, 1024, 1024, 64, false, seconds);
      measure(f32, 8, 4, 256, 256, 32, false, seconds);
      measure(f32, 8, 16, 1024, 1024, 64, false, seconds);
    }
  }

  private static void measure(
      Tensor pool, int b, int h, int lq, int lk, int d, boolean causal, double seconds) {
    DType dtype = pool.dtype();
    Attention op = new Attention(1 / Math.sqrt(d), causal, Attention.Mask.NONE);
    try (Scope scope = Scope.open()) {
      Tensor q = rows(pool, b, lq, h, d, 1);
      Tensor k = rows(pool, b, lk, h, d, 2);
      Tensor v = rows(pool, b, lk, h, d, 3);
      Tensor dy = rows(pool, b, lq, h, d, 4);
      Tensor[] y = Eager.INSTANCE.execute(op, q, k, v);
      double forward = time(op, seconds, q, k, v);
      double backward = time(new AttentionBackward(op), seconds, q, k, v, y[0], y[1], dy);
      double work = 4.0 * b * h * lq * lk * d * (causal ? 0.5 : 1);
      System.out.printf(
          Locale.ROOT,
          "%-5s %-4d %-3d %-5d %-5d %-4d %-7s %8.1f  %8.1f  %7.1f  %7.1f%n",
          dtype,
          b,
          h,
          lq,
          lk,
          d,
          causal ? "causal" : "full",
          work / forward / TERA,
          2.5 * work / backward / TERA,
          forward * 1e6,
          backward * 1e6);
    } catch (RuntimeException e) {
      System.out.println(dtype + " " + b + " " + h + " " + lq + " " + lk + " " + d + ": " + e);
    }
  }

  /** [B, H, L, D], in memory [B, L, H, D]: a piece of the pool that begins elsewhere each time. */
  private static Tensor rows(Tensor pool, int b, int l, int h, int d, int piece) {
    int start = piece * 8000;
    return pool.slice(0, start, start + b * l * h * d).reshape(b, l, h, d).transpose(1, 2);
  }

  private static double time(Op op, double seconds, Tensor... in) {
    Gpu gpu = Gpu.of(0);
    double once = run(gpu, op, 2, in) / 2;
    once = run(gpu, op, 3, in) / 3;
    int runs = (int) Math.max(5, Math.min(2000, seconds / once));
    return Math.min(run(gpu, op, runs, in), run(gpu, op, runs, in)) / runs;
  }

  private static double run(Gpu gpu, Op op, int runs, Tensor... in) {
    gpu.synchronize();
    long start = System.nanoTime();
    for (int i = 0; i < runs; i++) {
      Scope.run(
          () -> {
            Tensor[] unused = Eager.INSTANCE.execute(op, in);
          });
    }
    gpu.synchronize();
    return (System.nanoTime() - start) * 1e-9;
  }
}
