// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static io.sfumato.tensor.cpu.PackedWeights.Cache.NONE;

import com.sun.management.ThreadMXBean;
import io.sfumato.tensor.cpu.AttentionProblem.Matrix;
import java.lang.management.ManagementFactory;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * A program that runs kernels one after the other until they leave next to nothing on the Java
 * heap: then the JIT compiler keeps all their vectors in registers. Prints a line per kernel, what
 * a call leaves in bytes and its name; exits with 1 if one does not get there in 20 seconds.
 */
final class BoxedVectors {
  private static final double SECONDS = 20;
  private static final double LEAST_SECONDS = 1.5;

  /** Bytes of a call; the kernels go through a million vectors, each box takes 50 to 100. */
  private static final long MOST = 100_000;

  private static final int CALLS = 20;
  private static final ThreadMXBean THREADS =
      ManagementFactory.getPlatformMXBean(ThreadMXBean.class);

  private BoxedVectors() {}

  /** Arguments: part of the names of the kernels, or none for all. */
  public static void main(String[] args) {
    Map<String, Runnable> kernels = new LinkedHashMap<>();
    attention(kernels, 256, 256, 64);
    attention(kernels, 200, 77, 48); // no multiples of a vector
    attention(kernels, 200, 80, 40);
    convolution(kernels, ConvGeometry.of(2, 64, 32, 32, 64, 3, 1, 1));
    convolution(kernels, ConvGeometry.of(2, 64, 32, 32, 64, 3, 2, 1));
    convolution(kernels, ConvGeometry.of(2, 40, 31, 31, 24, 3, 1, 1));
    groupNorm(kernels, 64);
    groupNorm(kernels, 40);
    rows(kernels, 384);
    rows(kernels, 250); // no multiple of a vector
    elementwise(kernels, 1 << 18);
    elementwise(kernels, (1 << 18) - 9);
    kernels.keySet().removeIf(name -> args.length > 0 && !name.contains(args[0]));
    boolean failed = false;
    for (Map.Entry<String, Runnable> kernel : kernels.entrySet()) {
      long garbage = settled(kernel.getValue());
      System.out.println(garbage + " " + kernel.getKey());
      failed |= garbage > MOST;
    }
    System.exit(failed ? 1 : 0);
  }

  /** Bytes that a call leaves on the heap, when its callers are compiled too and they are few. */
  private static long settled(Runnable kernel) {
    long start = System.nanoTime();
    long garbage;
    do {
      long before = THREADS.getTotalThreadAllocatedBytes();
      for (int i = 0; i < CALLS; i++) {
        kernel.run();
      }
      garbage = (THREADS.getTotalThreadAllocatedBytes() - before) / CALLS;
    } while (System.nanoTime() - start < (garbage > MOST ? SECONDS : LEAST_SECONDS) * 1e9);
    return garbage;
  }

  private static void attention(Map<String, Runnable> kernels, int queries, int keys, int dim) {
    int heads = 12;
    float scale = (float) (1 / Math.sqrt(dim));
    var p = new AttentionProblem(2, heads, queries, keys, dim, scale, false, null);
    int rows = 2 * heads * queries * dim;
    int columns = 2 * heads * keys * dim;
    Matrix q = matrix(rows, heads, queries, dim);
    Matrix k = matrix(columns, heads, keys, dim);
    Matrix v = matrix(columns, heads, keys, dim);
    Matrix out = matrix(rows, heads, queries, dim);
    Matrix dq = matrix(rows, heads, queries, dim);
    Matrix dk = matrix(columns, heads, keys, dim);
    Matrix dv = matrix(columns, heads, keys, dim);
    long lse = random(2 * heads * queries);
    String name = "attention " + queries + " x " + keys + " x " + dim;
    kernels.put(name, () -> AttentionKernel.forward(p, q, k, v, out, lse));
    kernels.put(
        name + ", gradient", () -> AttentionKernel.backward(p, q, k, v, out, lse, q, dq, dk, dv));
  }

  private static void convolution(Map<String, Runnable> kernels, ConvGeometry g) {
    long x = random(g.batch() * g.inH() * g.inW() * g.inC());
    long weight = random(g.outC() * g.groupInC() * g.kH() * g.kW());
    long y = random(g.batch() * g.outH() * g.outW() * g.outC());
    long dx = random(g.batch() * g.inH() * g.inW() * g.inC());
    long dw = random(g.outC() * g.groupInC() * g.kH() * g.kW());
    SimdProvider simd = Simd.provider();
    kernels.put(g.toString(), () -> Conv2dKernel.forward(simd, g, x, weight, NONE, 0, y));
    kernels.put(
        g + ", input gradient", () -> Conv2dKernel.backwardInput(simd, g, y, weight, NONE, dx));
    kernels.put(g + ", weight gradient", () -> Conv2dKernel.backwardWeight(simd, g, x, y, dw));
  }

  private static void groupNorm(Map<String, Runnable> kernels, int channels) {
    var p = new GroupNormKernel.Problem(4, channels, 32 * 32, 8, true);
    int size = 4 * channels * 32 * 32;
    long x = random(size);
    long y = random(size);
    long dx = random(size);
    long weight = random(channels);
    long bias = random(channels);
    long dw = random(channels);
    long db = random(channels);
    long mean = random(32);
    long rstd = random(32);
    kernels.put(
        p.toString(),
        () -> GroupNormKernel.forwardChannelsLast(x, y, weight, bias, mean, rstd, p, 1e-5));
    kernels.put(
        p + ", gradient",
        () -> GroupNormKernel.backwardChannelsLast(x, y, weight, bias, mean, rstd, dx, dw, db, p));
    kernels.put(
        p + ", planes",
        () -> GroupNormKernel.forwardChannelsFirst(x, y, weight, bias, mean, rstd, p, 1e-5));
    kernels.put(
        p + ", planes, gradient",
        () -> GroupNormKernel.backwardChannelsFirst(x, y, weight, bias, mean, rstd, dx, dw, db, p));
  }

  private static void rows(Map<String, Runnable> kernels, int n) {
    int rows = 1024;
    long x = random(rows * n);
    long y = random(rows * n);
    long dx = random(rows * n);
    long weight = random(n);
    long bias = random(n);
    long mean = random(rows);
    long rstd = random(rows);
    var affine = LayerNormKernel.Affine.of(rows, n, weight, bias);
    var out = new LayerNormKernel.Gradients(dx, random(n), random(n), 0, 0, 0);
    String of = " of " + n;
    kernels.put("layer norm" + of, () -> LayerNormKernel.forward(x, y, mean, rstd, affine, 1e-5));
    kernels.put(
        "layer norm" + of + ", gradient",
        () -> LayerNormKernel.backward(x, y, mean, rstd, affine, out));
    kernels.put("softmax" + of, () -> SoftmaxKernel.forward(x, dx, rows, n));
    kernels.put("softmax" + of + ", gradient", () -> SoftmaxKernel.backward(x, y, dx, rows, n));
    kernels.put("log softmax" + of, () -> SoftmaxKernel.logForward(x, dx, rows, n));
    kernels.put(
        "log softmax" + of + ", gradient", () -> SoftmaxKernel.logBackward(x, y, dx, rows, n));
  }

  private static void elementwise(Map<String, Runnable> kernels, int n) {
    long x = random(n);
    long y = random(n);
    long out = random(n);
    for (UnaryOp op : UnaryOp.values()) {
      kernels.put(op + " of " + n, () -> Elementwise.unary(op, x, out, n));
    }
    for (UnaryGradient op : UnaryGradient.values()) {
      kernels.put(op + " of " + n + ", gradient", () -> Elementwise.gradient(op, x, y, out, n));
    }
    for (BinaryOp op : BinaryOp.values()) {
      kernels.put(op + " of " + n, () -> Elementwise.binary(op, x, y, out, n));
    }
  }

  private static Matrix matrix(int size, int heads, int length, int dim) {
    return Matrix.contiguous(random(size), heads, length, dim);
  }

  private static long random(int size) {
    return NativeFloats.random(size, size).address;
  }
}
