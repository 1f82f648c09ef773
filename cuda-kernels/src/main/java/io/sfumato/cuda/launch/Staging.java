// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * Operands in the memory order that a kernel demands: the tensor itself where it lies so, else a
 * copy that lives until this is closed. It may be closed right after the launch.
 */
final class Staging implements AutoCloseable {
  private final Gpu gpu;
  private final List<Long> copies = new ArrayList<>(2);

  Staging(Gpu gpu) {
    this.gpu = gpu;
  }

  /** Address of the elements in row-major order. */
  long rowMajor(Tensor t) {
    return t.layout().isContiguous() ? t.address() : copy(t, Layout.contiguous(t.shape()));
  }

  /** Address of the elements in channels-last order. */
  long channelsLast(Tensor t) {
    return t.layout().isChannelsLast() ? t.address() : copy(t, Layout.channelsLast(t.shape()));
  }

  /** Address of the elements in the order of {@code wanted}, a dense layout of the same shape. */
  long ordered(Tensor t, Layout wanted) {
    return t.layout().sameStrides(wanted) ? t.address() : copy(t, wanted.like(t.shape()));
  }

  /** Uninitialised memory. */
  long allocate(long bytes) {
    long address = gpu.memory().allocate(bytes);
    copies.add(address);
    return address;
  }

  private long copy(Tensor t, Layout wanted) {
    long to = allocate(t.spec().bytes());
    CopyLaunch.copy(gpu, t, to, wanted);
    return to;
  }

  @Override
  public void close() {
    for (long address : copies) {
      gpu.memory().free(address);
    }
  }
}
