// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.kernels;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.NN;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** Linear layers. Their gradients are matrix products, see {@link GemmBenchmark}. */
public class LinearBenchmark extends KernelBenchmark {
  /** The layer. */
  @Param public Shapes.Linear shape = Shapes.Linear.SD15_TO_Q_64;

  @Override
  public Work work(String method) {
    return switch (method) {
      case "forward" -> products(shape);
      default -> throw unknown(method);
    };
  }

  /** The work of a layer of this shape. */
  public static Work products(Shapes.Linear s) {
    double rows = s.rows;
    double weights = (double) s.in * s.out;
    return Work.of(2 * rows * weights, rows * s.in + weights + rows * s.out);
  }

  @Override
  protected Tensor[] operands() {
    return new Tensor[] {
      random(shape.rows, shape.in), random(shape.out, shape.in), random(shape.out)
    };
  }

  /** Product and bias. */
  @Benchmark
  public void forward() {
    run(() -> NN.linear(t[0], t[1], t[2]));
  }
}
