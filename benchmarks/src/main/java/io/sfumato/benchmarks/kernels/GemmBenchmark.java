// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.kernels;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** Matrix products. */
public class GemmBenchmark extends KernelBenchmark {
  /** The layer. */
  @Param public Shapes.Gemm shape = Shapes.Gemm.SQUARE_1024;

  @Override
  public Work work(String method) {
    return switch (method) {
      case "multiply" -> products(shape);
      default -> throw unknown(method);
    };
  }

  /** The work of any product of this shape. */
  public static Work products(Shapes.Gemm s) {
    double m = s.m;
    double n = s.n;
    return Work.of(2 * m * s.k * n, m * s.k + s.k * n + m * n);
  }

  @Override
  protected Tensor[] operands() {
    return new Tensor[] {
      shape.transposeA ? random(shape.k, shape.m) : random(shape.m, shape.k),
      shape.transposeB ? random(shape.n, shape.k) : random(shape.k, shape.n)
    };
  }

  /** The product. */
  @Benchmark
  public void multiply() {
    run(() -> Num.matmul(t[0], t[1], shape.transposeA, shape.transposeB));
  }
}
