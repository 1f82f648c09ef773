// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.kernels;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.ops.Attention;
import io.sfumato.tensor.ops.AttentionBackward;
import io.sfumato.tensor.ops.AttentionOptions;
import io.sfumato.tensor.ops.NN;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** Scaled dot-product attention. */
public class AttentionBenchmark extends KernelBenchmark {
  /** The layer. */
  @Param public Shapes.Attention shape = Shapes.Attention.SD15_SELF_64;

  @Override
  public Work work(String method) {
    return switch (method) {
      case "forward" -> products(shape, 2, 2, 2);
      case "backward" -> products(shape, 5, 4, 4);
      default -> throw unknown(method);
    };
  }

  /** The work of some products of queries by keys by width, moving some operands of either. */
  public static Work products(Shapes.Attention s, int count, int ofQueries, int ofKeys) {
    double planes = (double) s.batch * s.heads * s.width;
    return Work.of(
        2 * count * planes * s.queries * s.keys,
        planes * ((double) ofQueries * s.queries + (double) ofKeys * s.keys));
  }

  @Override
  protected Tensor[] operands() {
    Tensor q = heads(shape.queries);
    Tensor k = heads(shape.keys);
    Tensor v = heads(shape.keys);
    Tensor[] out = Executor.current().execute(op(), q, k, v);
    return new Tensor[] {q, k, v, out[0], out[1], heads(shape.queries)};
  }

  /** [B, H, L, D], in memory [B, L, H, D], as layers have it. */
  private Tensor heads(int length) {
    return random(shape.batch, length, shape.heads, shape.width).permute(0, 2, 1, 3);
  }

  private Attention op() {
    return new Attention(1 / Math.sqrt(shape.width), false, Attention.Mask.NONE);
  }

  /** The output. */
  @Benchmark
  public void forward() {
    run(() -> NN.attention(t[0], t[1], t[2], AttentionOptions.of()));
  }

  /** The gradients of q, k and v, from what the forward op kept. */
  @Benchmark
  public void backward() {
    run(() -> Executor.run(new AttentionBackward(op()), t));
  }
}
