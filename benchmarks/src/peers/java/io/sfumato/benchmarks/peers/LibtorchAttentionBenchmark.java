// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.peers;

import io.sfumato.benchmarks.kernels.AttentionBenchmark;
import io.sfumato.benchmarks.kernels.Shapes;
import io.sfumato.benchmarks.kernels.Work;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** Scaled dot-product attention of libtorch. */
public class LibtorchAttentionBenchmark extends LibtorchBenchmark {
  /** The layer. */
  @Param public Shapes.Attention shape = Shapes.Attention.SD15_SELF_64;

  @Override
  public Work work(String method) {
    return AttentionBenchmark.products(shape, 2, 2, 2);
  }

  @Override
  protected Tensor[] torchOperands() {
    return new Tensor[] {heads(shape.queries), heads(shape.keys), heads(shape.keys)};
  }

  /** [B, H, L, D], in memory [B, L, H, D], as layers have it. */
  private Tensor heads(int length) {
    return torch.randn(shape.batch, length, shape.heads, shape.width).transpose(1, 2);
  }

  /** The output. */
  @Benchmark
  public void forward() {
    torch(() -> torch.scaled_dot_product_attention(x[0], x[1], x[2]));
  }
}
