// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.launch.CudaKernels;
import io.sfumato.cuda.memory.CachingAllocator;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.MemoryStats;
import io.sfumato.tensor.Storage;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backend;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.KernelTable;
import io.sfumato.tensor.exec.Op;
import java.util.OptionalLong;
import java.util.function.Supplier;

/**
 * One NVIDIA device. Ops are launched in order on one stream and run asynchronously; the host waits
 * when values are read. What no kernel takes is computed on the CPU, which is logged once per op.
 */
public final class CudaBackend implements Backend {
  private final Gpu gpu;
  private final CachingAllocator memory;
  private final KernelTable kernels = CudaKernels.table();
  private final HostFallback fallback;

  CudaBackend(Gpu gpu) {
    this.gpu = gpu;
    this.memory = gpu.memory();
    this.fallback = new HostFallback(gpu, kernels);
  }

  /** The kernels, in the order of preference. A kernel of an op of your own is added here. */
  public KernelTable kernels() {
    return kernels;
  }

  /** The device itself. */
  public Gpu gpu() {
    return gpu;
  }

  @Override
  public Device device() {
    return gpu.device();
  }

  @Override
  public Storage allocate(long bytes) {
    return new Storage(
        gpu.device(), memory.allocate(bytes), bytes, (address, size) -> memory.free(address));
  }

  @Override
  public void launch(Op op, Tensor[] in, Tensor[] out) {
    Kernel<Op> kernel = kernels.find(op, in, out);
    if (kernel != null) {
      kernel.launch(op, in, out);
    } else {
      fallback.launch(op, in, out);
    }
  }

  @Override
  public void upload(long hostAddress, long deviceAddress, long bytes) {
    gpu.upload(hostAddress, deviceAddress, bytes);
  }

  @Override
  public void download(long deviceAddress, long hostAddress, long bytes) {
    gpu.download(deviceAddress, hostAddress, bytes);
  }

  /** {@inheritDoc} From another CUDA device, and without waiting for either. */
  @Override
  public boolean receive(Backend source, long from, long to, long bytes) {
    if (!(source instanceof CudaBackend other)) {
      return false;
    }
    gpu.receive(other.gpu, from, to, bytes);
    return true;
  }

  @Override
  public void synchronize() {
    gpu.synchronize();
  }

  @Override
  public OptionalLong stream() {
    gpu.enter();
    return OptionalLong.of(gpu.stream());
  }

  /** {@inheritDoc} On this device as a CUDA graph. */
  @Override
  public CudaGraph record(Supplier<Tensor[]> body) {
    return CudaGraph.of(gpu, body);
  }

  @Override
  public MemoryStats memory() {
    return memory.stats();
  }

  /** The device's memory without what tensors hold; other processes may have some of it. */
  @Override
  public long available() {
    return gpu.totalMemory() - memory().live();
  }

  /** Gives unused memory back to the device. */
  public void trim() {
    memory.trim();
  }

  /** Starts a new measurement of the peak. */
  public void resetPeak() {
    memory.resetPeak();
  }
}
