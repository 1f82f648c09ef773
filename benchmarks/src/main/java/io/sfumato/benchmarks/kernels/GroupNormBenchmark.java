// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.kernels;

import io.sfumato.autograd.Autograd;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Shaping;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** GroupNorm with SiLU. */
public class GroupNormBenchmark extends KernelBenchmark {
  /** The layer. */
  @Param public Shapes.GroupNorm shape = Shapes.GroupNorm.SD15_64;

  @Override
  public Work work(String method) {
    double elements = (double) shape.batch * shape.channels * shape.side * shape.side;
    return switch (method) {
      case "forward" -> Work.moving(2 * elements);
      case "forwardAndBackward" -> Work.moving(5 * elements);
      default -> throw unknown(method);
    };
  }

  @Override
  protected Tensor[] operands() {
    return new Tensor[] {
      Shaping.channelsLast(random(shape.batch, shape.channels, shape.side, shape.side)),
      random(shape.channels),
      random(shape.channels),
      Shaping.channelsLast(random(shape.batch, shape.channels, shape.side, shape.side))
    };
  }

  private static Tensor norm(Tensor... x) {
    return NN.groupNormSilu(x[0], 32, x[1], x[2], 1e-5);
  }

  /** The output. */
  @Benchmark
  public void forward() {
    run(() -> norm(t));
  }

  /** Output and gradients of input, weight and bias. */
  @Benchmark
  public void forwardAndBackward() {
    run(
        () ->
            Autograd.vjp(GroupNormBenchmark::norm, new Tensor[] {t[0], t[1], t[2]}, t[3]).value());
  }
}
