// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.MemoryStats;
import io.sfumato.tensor.Storage;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backend;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Elements;
import io.sfumato.tensor.exec.InPlaceOp;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.exec.StridedLoop;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The host. An op runs on its fast kernel if one takes the case; 16-bit floating operands are
 * widened to f32 for it and the results rounded; what no kernel takes is computed by the op's
 * reference, which is logged once per op when it is large enough to matter.
 */
public final class CpuBackend implements Backend {
  private static final System.Logger LOG = System.getLogger("io.sfumato.cpu");
  private static final long WORTH_A_WARNING = 1 << 18;
  private static final CpuBackend INSTANCE = new CpuBackend();

  private final SlabAllocator memory =
      new SlabAllocator(Long.getLong("sfumato.cpu.memory", Long.MAX_VALUE / 2));
  private final KernelTable kernels = CpuKernels.table();
  private final Set<Class<?>> warned = ConcurrentHashMap.newKeySet();

  private CpuBackend() {}

  /** The only instance. */
  public static CpuBackend instance() {
    return INSTANCE;
  }

  /** The kernels, for coverage tests. */
  public KernelTable kernels() {
    return kernels;
  }

  @Override
  public Device device() {
    return Device.CPU;
  }

  @Override
  public Storage allocate(long bytes) {
    return memory.allocate(bytes);
  }

  /** Gives unused memory back to the system. */
  public void trim() {
    memory.trim();
  }

  /** Starts a new measurement of the peak. */
  public void resetPeak() {
    memory.resetPeak();
  }

  @Override
  public MemoryStats memory() {
    return memory.stats();
  }

  /** What the system says it can still give, and what the pool has and does not use. */
  @Override
  public long available() {
    long system = AvailableMemory.bytes();
    MemoryStats stats = memory();
    return system < 0 ? -1 : system + Math.max(0, stats.reserved() - stats.live());
  }

  @Override
  public void upload(long hostAddress, long deviceAddress, long bytes) {
    Memory.copy(hostAddress, deviceAddress, bytes);
  }

  @Override
  public void download(long deviceAddress, long hostAddress, long bytes) {
    Memory.copy(deviceAddress, hostAddress, bytes);
  }

  @Override
  public void synchronize() {
    // kernels return when they are done
  }

  @Override
  public void launch(Op op, Tensor[] in, Tensor[] out) {
    Kernel<Op> kernel = kernels.find(op, in, out);
    if (kernel != null) {
      kernel.launch(op, in, out);
    } else if (!WidenedLaunch.launch(kernels, op, in, out)) {
      launchReference(op, in, out);
    }
  }

  private void launchReference(Op op, Tensor[] in, Tensor[] out) {
    warnOnce(op, in, out);
    Dense[] x = new Dense[in.length];
    for (int i = 0; i < in.length; i++) {
      x[i] = new Dense(in[i].shape(), in[i].dtype(), Elements.doubles(in[i]));
    }
    Dense[] y = new Dense[out.length];
    for (int i = 0; i < out.length; i++) {
      y[i] = Dense.zeros(out[i].shape(), out[i].dtype());
    }
    op.reference(x, y);
    for (int i = 0; i < out.length; i++) {
      store(y[i], out[i]);
    }
    if (op instanceof InPlaceOp inPlace) {
      for (int i : inPlace.mutated()) {
        store(x[i], in[i]);
      }
    }
  }

  private void warnOnce(Op op, Tensor[] in, Tensor[] out) {
    long most = 0;
    boolean f32 = false;
    for (Tensor[] side : new Tensor[][] {in, out}) {
      for (Tensor t : side) {
        most = Math.max(most, t.numel());
        f32 |= t.dtype() == DType.F32 || t.dtype().isHalf();
      }
    }
    if (f32 && most >= WORTH_A_WARNING && warned.add(op.getClass())) {
      LOG.log(
          System.Logger.Level.WARNING,
          "{0}: no fast CPU kernel takes this case ({1}); the slow reference computes it",
          op.name(),
          kernels.explain(op, in, out));
    }
  }

  private static void store(Dense values, Tensor target) {
    double[] data = values.data();
    DType dtype = target.dtype();
    long base = target.storage().address();
    int[] k = {0};
    StridedLoop.forEach(
        target.layout(), p -> Elements.put(dtype, base + p * dtype.bytes(), data[k[0]++]));
  }
}
