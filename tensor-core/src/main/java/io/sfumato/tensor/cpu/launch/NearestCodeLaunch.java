// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.NearestCodeKernel;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.ops.NearestCode;
import org.jspecify.annotations.Nullable;

/** Vector quantisation by {@link NearestCodeKernel}. */
public final class NearestCodeLaunch implements Kernel<NearestCode> {
  /** The kernel. */
  public NearestCodeLaunch() {}

  @Override
  public @Nullable String refuse(NearestCode op, Tensor[] in, Tensor[] out) {
    if (in[0].dtype() != DType.F32) {
      return "needs f32";
    }
    return in[0].numel() == 0 ? "needs elements" : null;
  }

  @Override
  public void launch(NearestCode op, Tensor[] in, Tensor[] out) {
    try (Staging staging = new Staging()) {
      NearestCodeKernel.run(
          Math.toIntExact(out[0].numel()),
          in[1].dim(0),
          in[1].dim(1),
          staging.rows(in[0]),
          staging.rowMajor(in[1]),
          out[0].address());
    }
  }
}
