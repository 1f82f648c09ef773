// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.kernels;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.ops.Conv2dBackwardInput;
import io.sfumato.tensor.ops.Conv2dBackwardWeight;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Shaping;
import java.util.List;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** Convolutions, on channels-last pictures. */
public class ConvBenchmark extends KernelBenchmark {
  /** The layer. */
  @Param public Shapes.Conv shape = Shapes.Conv.SD15_RES_64;

  @Override
  public Work work(String method) {
    return switch (method) {
      case "forward", "backwardInput", "backwardWeight" -> products(shape);
      default -> throw unknown(method);
    };
  }

  /** The work of a convolution of this shape, or of either gradient of it. */
  public static Work products(Shapes.Conv s) {
    double before = (double) s.batch * s.side * s.side;
    double after = (double) s.batch * s.outSide() * s.outSide();
    double weights = (double) s.out * s.in * s.kernel * s.kernel;
    return Work.of(2 * after * weights, before * s.in + weights + after * s.out);
  }

  @Override
  protected Tensor[] operands() {
    int side = shape.outSide();
    return new Tensor[] {
      Shaping.channelsLast(random(shape.batch, shape.in, shape.side, shape.side)),
      random(shape.out, shape.in, shape.kernel, shape.kernel),
      random(shape.out),
      Shaping.channelsLast(random(shape.batch, shape.out, side, side))
    };
  }

  private ConvOptions options() {
    return ConvOptions.of().stride(shape.stride).padding(shape.padding());
  }

  /** Convolution and bias. */
  @Benchmark
  public void forward() {
    run(() -> NN.conv2d(t[0], t[1], t[2], options()));
  }

  /** The gradient of the input. */
  @Benchmark
  public void backwardInput() {
    List<Integer> size = List.of(shape.side, shape.side);
    run(() -> Executor.run(new Conv2dBackwardInput(options().resolved(2), size), t[3], t[1]));
  }

  /** The gradient of the weight. */
  @Benchmark
  public void backwardWeight() {
    List<Integer> kernel = List.of(shape.kernel, shape.kernel);
    run(() -> Executor.run(new Conv2dBackwardWeight(options().resolved(2), kernel), t[3], t[0]));
  }
}
