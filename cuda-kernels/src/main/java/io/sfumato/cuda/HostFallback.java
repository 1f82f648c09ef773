// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Storage;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.CpuBackend;
import io.sfumato.tensor.exec.InPlaceOp;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.exec.Op;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * Computes on the CPU what no CUDA kernel takes: copies the operands to the host, runs the CPU's
 * kernel, copies the results back. Slow, and said so once per op.
 */
final class HostFallback {
  private static final System.Logger LOG = System.getLogger("io.sfumato.cuda");

  private final Gpu gpu;
  private final KernelTable kernels;
  private final Set<Class<?>> warned = ConcurrentHashMap.newKeySet();

  HostFallback(Gpu gpu, KernelTable kernels) {
    this.gpu = gpu;
    this.kernels = kernels;
  }

  void launch(Op op, Tensor[] in, Tensor[] out) {
    if (warned.add(op.getClass())) {
      LOG.log(
          System.Logger.Level.WARNING,
          "{0}: no CUDA kernel takes this case ({1}); it is computed on the CPU, with copies there"
              + " and back, which is slow",
          op.name(),
          kernels.explain(op, in, out));
    }
    if (gpu.isCapturing()) {
      throw new IllegalStateException(
          op.name()
              + " has no CUDA kernel for this case ("
              + kernels.explain(op, in, out)
              + ") and cannot be captured");
    }
    CpuBackend cpu = CpuBackend.instance();
    Tensor[] hostIn = new Tensor[in.length];
    Tensor[] hostOut = new Tensor[out.length];
    try {
      for (int i = 0; i < in.length; i++) {
        hostIn[i] = onHost(in[i]);
        gpu.download(
            in[i].storage().address() + first(in[i]),
            hostIn[i].storage().address(),
            hostIn[i].storage().bytes());
      }
      for (int i = 0; i < out.length; i++) {
        hostOut[i] = onHost(out[i]);
      }
      cpu.launch(op, hostIn, hostOut);
      for (int i = 0; i < out.length; i++) {
        upload(hostOut[i], out[i]);
      }
      if (op instanceof InPlaceOp inPlace) {
        for (int i : inPlace.mutated()) {
          upload(hostIn[i], in[i]);
        }
      }
    } finally {
      release(hostIn);
      release(hostOut);
    }
  }

  /** A host tensor of the same strides, over memory for the elements' extent alone. */
  private static Tensor onHost(Tensor t) {
    Layout layout = t.layout();
    Layout atStart = Layout.of(t.shape(), layout.strides(), 0);
    long bytes = atStart.extent() * t.dtype().bytes();
    return Tensor.owned(CpuBackend.instance().allocate(bytes), atStart, t.dtype(), null);
  }

  private static long first(Tensor t) {
    return t.layout().offset() * t.dtype().bytes();
  }

  private void upload(Tensor host, Tensor target) {
    gpu.upload(
        host.storage().address(),
        target.storage().address() + first(target),
        host.storage().bytes());
  }

  private static void release(@Nullable Tensor[] tensors) {
    for (Tensor t : tensors) {
      if (t != null) {
        Storage storage = t.storage();
        storage.release();
      }
    }
  }
}
