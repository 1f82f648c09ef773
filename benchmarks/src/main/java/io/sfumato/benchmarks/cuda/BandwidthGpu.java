// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.cuda;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Eager;
import io.sfumato.tensor.exec.InPlaceOp;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.AdamWStep;
import io.sfumato.tensor.ops.ArgReduce;
import io.sfumato.tensor.ops.AvgPool2d;
import io.sfumato.tensor.ops.CopyAll;
import io.sfumato.tensor.ops.CrossEntropy;
import io.sfumato.tensor.ops.CumSum;
import io.sfumato.tensor.ops.EmaStep;
import io.sfumato.tensor.ops.IndexAdd;
import io.sfumato.tensor.ops.IndexSelect;
import io.sfumato.tensor.ops.LogSumExp;
import io.sfumato.tensor.ops.Mse;
import io.sfumato.tensor.ops.MseBackward;
import io.sfumato.tensor.ops.Reduce;
import io.sfumato.tensor.ops.Reduction;
import io.sfumato.tensor.ops.ResampleBackward;
import io.sfumato.tensor.ops.ScatterAdd;
import io.sfumato.tensor.ops.Softmax;
import io.sfumato.tensor.ops.SoftmaxBackward;
import io.sfumato.tensor.ops.Sort;
import io.sfumato.tensor.ops.SquaredNorm;
import io.sfumato.tensor.ops.UpsampleBilinear;
import io.sfumato.tensor.ops.UpsampleNearest;
import io.sfumato.tensor.ops.Variance;
import java.util.List;
import java.util.Locale;

/**
 * Bytes per second of ops that the memory of the first GPU bounds: what an op must read and write,
 * once, by the time of one run. Argument: the seconds of one measurement.
 */
public final class BandwidthGpu {
  private static final Device DEVICE = new Device("cuda", 0);

  private final double seconds;
  private final Gpu gpu = Gpu.of(0);

  private BandwidthGpu(double seconds) {
    this.seconds = seconds;
  }

  /** Prints one line for each op and shape. */
  public static void main(String[] args) {
    BandwidthGpu b = new BandwidthGpu(args.length > 0 ? Double.parseDouble(args[0]) : 0.03);
    System.out.println("op                              GB/s       us");
    try (Scope scope = Scope.open()) {
      b.reductions(DType.F32);
      b.reductions(DType.BF16);
      b.losses();
      b.updates();
      b.indexing();
      b.resampling(DType.F32);
      b.resampling(DType.BF16);
    }
  }

  private Tensor normal(DType dtype, int... shape) {
    return Scope.run(() -> Rng.seed(shape[0]).normal(shape).to(DEVICE).to(dtype));
  }

  private Tensor integers(int bound, int... shape) {
    int n = 1;
    for (int d : shape) {
      n *= d;
    }
    java.util.SplittableRandom random = new java.util.SplittableRandom(n);
    long[] values = random.longs(n, 0, bound).toArray();
    return Tensor.of(values, shape).to(DEVICE);
  }

  private void reductions(DType dtype) {
    try (Scope scope = Scope.open()) {
      Tensor rows = normal(dtype, 65536, 1152);
      Tensor maps = normal(dtype, 16, 320, 64, 64);
      measure("sum of rows", new Reduce(Reduce.Kind.SUM, List.of(1), false), rows);
      measure("sum of columns", new Reduce(Reduce.Kind.SUM, List.of(0), false), rows);
      measure("sum of all", new Reduce(Reduce.Kind.SUM, List.of(), false), rows);
      measure("max of rows", new Reduce(Reduce.Kind.MAX, List.of(1), false), rows);
      measure("sum per channel", new Reduce(Reduce.Kind.SUM, List.of(0, 2, 3), false), maps);
      Tensor last = maps.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2);
      measure("per channel, last", new Reduce(Reduce.Kind.SUM, List.of(0, 2, 3), false), last);
      measure("variance of rows", new Variance(List.of(1), 1, false, false), rows);
      measure("logsumexp of rows", new LogSumExp(List.of(1), false), rows);
      measure("argmax of rows", new ArgReduce(true, 1, false), rows);
      measure("cumsum of rows", new CumSum(1, false), rows);
      measure("softmax of 1152", new Softmax(1), rows);
      measure("softmax of 1152, back", new SoftmaxBackward(1), rows, rows);
      measure("softmax of 77", new Softmax(1), normal(dtype, 500_000, 77));
      measure("softmax of 4096", new Softmax(1), normal(dtype, 16384, 4096));
      measure("softmax of 49408", new Softmax(1), normal(dtype, 1024, 49408));
      measure("softmax of channels", new Softmax(1), maps);
    }
  }

  private void losses() {
    try (Scope scope = Scope.open()) {
      Tensor x = normal(DType.F32, 64, 4, 128, 128);
      Tensor t = normal(DType.F32, 64, 4, 128, 128);
      measure("mse", new Mse(Reduction.MEAN), x, t);
      Tensor g = normal(DType.F32, 1).reshape();
      measure("mse, back", new MseBackward(Reduction.MEAN), x, t, g);
      Tensor logits = normal(DType.F32, 4096, 8192);
      CrossEntropy loss = new CrossEntropy(-100, 0, Reduction.MEAN);
      measure("cross entropy of 8192", loss, logits, integers(8192, 4096));
    }
  }

  /** 400 tensors with 100 million elements in all. */
  private Tensor[] parameters(DType... types) {
    int count = 400;
    Tensor[] all = new Tensor[types.length * count];
    for (int l = 0; l < types.length; l++) {
      for (int k = 0; k < count; k++) {
        all[l * count + k] = normal(types[l], k % 4 == 0 ? 320 : 340_000 - k);
      }
    }
    return all;
  }

  private void updates() {
    try (Scope scope = Scope.open()) {
      DType f = DType.F32;
      Tensor[] four = parameters(f, f, f, f);
      int n = four.length / 4;
      measure("adamw", new AdamWStep(n, 1e-9, 0.9, 0.999, 1e-3, 0.01, true, 1, 1), four);
      measure("squared norm", new SquaredNorm(), parameters(f));
      measure("ema", new EmaStep(n, 0.999), parameters(f, f));
      measure("copy to bf16", new CopyAll(n), parameters(DType.BF16, f));
    }
    try (Scope scope = Scope.open()) {
      DType h = DType.BF16;
      Tensor[] mixed = parameters(h, h, DType.F32, DType.F32);
      AdamWStep op = new AdamWStep(mixed.length / 4, 1e-9, 0.9, 0.999, 1e-3, 0.01, true, 1, 1);
      measure("adamw, bf16 parameters", op, mixed);
    }
  }

  private void indexing() {
    try (Scope scope = Scope.open()) {
      Tensor table = normal(DType.F32, 49408, 768);
      Tensor index = integers(49408, 16384);
      measure("rows of a table", new IndexSelect(0), table, index);
      Tensor g = normal(DType.F32, 16384, 768);
      measure("rows into a table", new IndexAdd(0, 49408), g, index);
      measure("all into one row", new IndexAdd(0, 49408), g, integers(1, 16384));
      Tensor y = normal(DType.F32, 64, 65536);
      Tensor at = integers(65536, 64, 16384);
      measure("scatter add", new ScatterAdd(1), y, at, normal(DType.F32, 64, 16384));
      measure("sort of 1024", new Sort(1, false), normal(DType.F32, 4096, 1024));
      measure("sort of 1000000", new Sort(1, false), normal(DType.F32, 4, 1_000_000));
    }
  }

  private void resampling(DType dtype) {
    try (Scope scope = Scope.open()) {
      Tensor first = normal(dtype, 16, 320, 32, 32);
      Tensor last = first.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2);
      UpsampleNearest up = new UpsampleNearest(List.of(64, 64));
      AvgPool2d half = new AvgPool2d(List.of(2, 2), List.of(2, 2), List.of(0, 0), true);
      UpsampleBilinear linear = new UpsampleBilinear(List.of(64, 64), false);
      for (Tensor x : new Tensor[] {first, last}) {
        String order = x == last ? ", last" : "";
        measure("nearest" + order, up, x);
        measure("nearest, back" + order, new ResampleBackward(up, List.of(32, 32)), x(x, up));
        measure("bilinear" + order, linear, x);
        measure("average" + order, half, x);
        measure("average, back" + order, new ResampleBackward(half, List.of(64, 64)), x);
      }
    }
  }

  /** A gradient of the shape of the enlarged. */
  private static Tensor x(Tensor x, UpsampleNearest up) {
    return Eager.INSTANCE.execute(up, x)[0];
  }

  private void measure(String name, Op op, Tensor... in) {
    try {
      long[] bytes = {0};
      Scope.run(
          () -> {
            for (Tensor t : in) {
              bytes[0] += t.spec().bytes();
            }
            for (Tensor t : Eager.INSTANCE.execute(op, in)) {
              bytes[0] += t.spec().bytes();
            }
            if (op instanceof InPlaceOp o) {
              for (int i : o.mutated()) {
                bytes[0] += in[i].spec().bytes();
              }
            }
            if (op instanceof CopyAll || op instanceof IndexSelect) {
              bytes[0] -= in[0].spec().bytes(); // not read as a whole
            }
          });
      double once = run(op, 3, in) / 3;
      int runs = (int) Math.max(3, Math.min(1000, seconds / once));
      double time = Math.min(run(op, runs, in), run(op, runs, in)) / runs;
      String what = in[0].dtype() + " " + name;
      System.out.printf(
          Locale.ROOT, "%-28s %8.0f %8.1f%n", what, bytes[0] / time * 1e-9, time * 1e6);
    } catch (RuntimeException e) {
      System.out.println(name + ": " + e);
    }
  }

  private double run(Op op, int runs, Tensor... in) {
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
