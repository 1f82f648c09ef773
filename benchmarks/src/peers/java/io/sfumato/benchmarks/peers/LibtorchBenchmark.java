// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.peers;

import io.sfumato.benchmarks.kernels.KernelBenchmark;
import java.util.function.Supplier;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/** Kernels of libtorch: operands made once, results allocated and freed in the timed region. */
public abstract class LibtorchBenchmark extends KernelBenchmark {
  /** The operands. */
  protected Tensor[] x = {};

  /** Makes the operands. */
  protected abstract Tensor[] torchOperands();

  @Override
  protected io.sfumato.tensor.Tensor[] operands() {
    OpenBlas.setThreads(threads);
    torch.set_num_threads(threads);
    x = torchOperands();
    return new io.sfumato.tensor.Tensor[0];
  }

  @Override
  protected void release() {
    for (Tensor one : x) {
      one.close();
    }
  }

  /** Runs a kernel, and frees what it made. */
  protected static void torch(Supplier<Tensor> kernel) {
    kernel.get().close();
  }
}
