// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.kernels;

import io.sfumato.autograd.Autograd;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.NN;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** A linear layer with LoRA. */
public class LoraBenchmark extends KernelBenchmark {
  /** The layer. */
  @Param public Shapes.Lora shape = Shapes.Lora.SD15_TO_Q_64_R8;

  /** The base gives no weight gradient: only x, A and B are differentiated. */
  @Override
  public Work work(String method) {
    double base = (double) shape.in * shape.out;
    double low = (double) shape.rank * (shape.in + shape.out);
    double moved = base + low + (double) shape.rows * (shape.in + shape.out);
    return switch (method) {
      case "forward" -> Work.of(2.0 * shape.rows * (base + low), moved);
      case "forwardAndBackward" -> Work.of(2.0 * shape.rows * (2 * base + 3 * low), 2 * moved);
      default -> throw unknown(method);
    };
  }

  @Override
  protected Tensor[] operands() {
    return new Tensor[] {
      random(shape.rows, shape.in),
      random(shape.rank, shape.in),
      random(shape.out, shape.rank),
      random(shape.out, shape.in),
      random(shape.rows, shape.out)
    };
  }

  private Tensor product(Tensor... x) {
    Tensor low = NN.linear(NN.linear(x[0], x[1], null), x[2], null);
    return NN.linear(x[0], t[3], null).add(low.mul(2));
  }

  /** The output. */
  @Benchmark
  public void forward() {
    run(() -> product(t));
  }

  /** Output and gradients of x, A and B. */
  @Benchmark
  public void forwardAndBackward() {
    run(() -> Autograd.vjp(this::product, new Tensor[] {t[0], t[1], t[2]}, t[4]).value());
  }
}
