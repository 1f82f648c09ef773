// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.kernels;

import io.sfumato.autograd.Autograd;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.NN;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** LayerNorm, plain and modulated. */
public class LayerNormBenchmark extends KernelBenchmark {
  /** The layer. */
  @Param public Shapes.LayerNorm shape = Shapes.LayerNorm.SD15_64;

  @Override
  public Work work(String method) {
    return switch (method) {
      case "forward", "modulated" -> Work.moving(2.0 * shape.rows * shape.width);
      case "forwardAndBackward" -> Work.moving(5.0 * shape.rows * shape.width);
      default -> throw unknown(method);
    };
  }

  @Override
  protected Tensor[] operands() {
    return new Tensor[] {
      random(shape.rows, shape.width),
      random(shape.width),
      random(shape.width),
      random(shape.rows, shape.width),
      random(2, shape.width),
      random(2, shape.width)
    };
  }

  private static Tensor norm(Tensor... x) {
    return NN.layerNorm(x[0], 1, x[1], x[2], 1e-5);
  }

  /** The output. */
  @Benchmark
  public void forward() {
    run(() -> norm(t));
  }

  /** With shift and scale of each of two pictures, as in DiT. */
  @Benchmark
  public void modulated() {
    run(() -> NN.layerNormModulate(t[0].reshape(2, shape.rows / 2, shape.width), t[4], t[5], 1e-6));
  }

  /** Output and gradients of input, weight and bias. */
  @Benchmark
  public void forwardAndBackward() {
    run(
        () ->
            Autograd.vjp(LayerNormBenchmark::norm, new Tensor[] {t[0], t[1], t[2]}, t[3]).value());
  }
}
