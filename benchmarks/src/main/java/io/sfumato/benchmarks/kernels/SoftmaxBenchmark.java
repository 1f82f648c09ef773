// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.kernels;

import io.sfumato.autograd.Autograd;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.NN;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** Softmax. */
public class SoftmaxBenchmark extends KernelBenchmark {
  /** The layer. */
  @Param public Shapes.Softmax shape = Shapes.Softmax.DIT_XL_256;

  @Override
  public Work work(String method) {
    return switch (method) {
      case "forward" -> Work.moving(2.0 * shape.rows * shape.width);
      case "forwardAndBackward" -> Work.moving(5.0 * shape.rows * shape.width);
      default -> throw unknown(method);
    };
  }

  @Override
  protected Tensor[] operands() {
    return new Tensor[] {random(shape.rows, shape.width), random(shape.rows, shape.width)};
  }

  /** The output. */
  @Benchmark
  public void forward() {
    run(() -> NN.softmax(t[0], -1));
  }

  /** Output and gradient. */
  @Benchmark
  public void forwardAndBackward() {
    run(() -> Autograd.vjp(x -> NN.softmax(x[0], -1), new Tensor[] {t[0]}, t[1]).value());
  }
}
