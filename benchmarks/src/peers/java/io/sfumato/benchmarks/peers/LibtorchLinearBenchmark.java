// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.peers;

import io.sfumato.benchmarks.kernels.LinearBenchmark;
import io.sfumato.benchmarks.kernels.Shapes;
import io.sfumato.benchmarks.kernels.Work;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** Linear layers of libtorch. */
public class LibtorchLinearBenchmark extends LibtorchBenchmark {
  /** The layer. */
  @Param public Shapes.Linear shape = Shapes.Linear.SD15_TO_Q_64;

  @Override
  public Work work(String method) {
    return LinearBenchmark.products(shape);
  }

  @Override
  protected Tensor[] torchOperands() {
    return new Tensor[] {
      torch.randn(shape.rows, shape.in), torch.randn(shape.out, shape.in), torch.randn(shape.out)
    };
  }

  /** Product and bias. */
  @Benchmark
  public void forward() {
    torch(() -> torch.linear(x[0], x[1], x[2]));
  }
}
