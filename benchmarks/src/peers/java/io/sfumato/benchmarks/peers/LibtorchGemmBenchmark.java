// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.peers;

import io.sfumato.benchmarks.kernels.GemmBenchmark;
import io.sfumato.benchmarks.kernels.Shapes;
import io.sfumato.benchmarks.kernels.Work;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** Matrix products of libtorch. */
public class LibtorchGemmBenchmark extends LibtorchBenchmark {
  /** The layer. */
  @Param public Shapes.Gemm shape = Shapes.Gemm.SQUARE_1024;

  @Override
  public Work work(String method) {
    return GemmBenchmark.products(shape);
  }

  @Override
  protected Tensor[] torchOperands() {
    Tensor a = shape.transposeA ? torch.randn(shape.k, shape.m) : torch.randn(shape.m, shape.k);
    Tensor b = shape.transposeB ? torch.randn(shape.n, shape.k) : torch.randn(shape.k, shape.n);
    return new Tensor[] {shape.transposeA ? a.t() : a, shape.transposeB ? b.t() : b};
  }

  /** The product. */
  @Benchmark
  public void multiply() {
    torch(() -> torch.matmul(x[0], x[1]));
  }
}
