// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.kernels;

import io.sfumato.autograd.Autograd;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.NN;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** Cross entropy. */
public class CrossEntropyBenchmark extends KernelBenchmark {
  /** The layer. */
  @Param public Shapes.CrossEntropy shape = Shapes.CrossEntropy.IMAGENET;

  @Override
  public Work work(String method) {
    return switch (method) {
      case "forward" -> Work.moving((double) shape.rows * shape.classes);
      case "forwardAndBackward" -> Work.moving(3.0 * shape.rows * shape.classes);
      default -> throw unknown(method);
    };
  }

  @Override
  protected Tensor[] operands() {
    return new Tensor[] {
      random(shape.rows, shape.classes),
      Rng.seed(7).integers(0, shape.classes, shape.rows),
      Tensor.scalar(1)
    };
  }

  /** The mean loss. */
  @Benchmark
  public void forward() {
    run(() -> NN.crossEntropy(t[0], t[1]));
  }

  /** The mean loss and the gradient of the logits. */
  @Benchmark
  public void forwardAndBackward() {
    run(() -> Autograd.vjp(x -> NN.crossEntropy(x[0], t[1]), new Tensor[] {t[0]}, t[2]).value());
  }
}
