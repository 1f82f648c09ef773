// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.peers;

import io.sfumato.benchmarks.kernels.ConvBenchmark;
import io.sfumato.benchmarks.kernels.Shapes;
import io.sfumato.benchmarks.kernels.Work;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** Convolutions of libtorch, on channels-last pictures. */
public class LibtorchConvBenchmark extends LibtorchBenchmark {
  /** The layer. */
  @Param public Shapes.Conv shape = Shapes.Conv.SD15_RES_64;

  @Override
  public Work work(String method) {
    return ConvBenchmark.products(shape);
  }

  @Override
  protected Tensor[] torchOperands() {
    return new Tensor[] {
      channelsLast(torch.randn(shape.batch, shape.in, shape.side, shape.side)),
      channelsLast(torch.randn(shape.out, shape.in, shape.kernel, shape.kernel)),
      torch.randn(shape.out)
    };
  }

  private static Tensor channelsLast(Tensor t) {
    return t.contiguous(torch.MemoryFormat.ChannelsLast);
  }

  /** Convolution and bias. */
  @Benchmark
  public void forward() {
    torch(
        () ->
            torch.conv2d(
                x[0],
                x[1],
                new TensorOptional(x[2]),
                new long[] {shape.stride, shape.stride},
                new long[] {shape.padding(), shape.padding()},
                new long[] {1, 1},
                1));
  }
}
