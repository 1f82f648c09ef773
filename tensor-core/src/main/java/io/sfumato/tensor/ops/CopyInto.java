// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.InPlaceOp;
import java.util.List;

/**
 * {@code target = x}, cast to the target's type as {@link Cast}. Inputs: target, x, of one shape.
 */
public record CopyInto() implements InPlaceOp {
  @Override
  public String name() {
    return "copy_into";
  }

  @Override
  public int[] mutated() {
    return new int[] {0};
  }

  @Override
  public void check(List<TensorSpec> in) {
    if (!in.get(0).shape().equals(in.get(1).shape())) {
      throw new ShapeException("target and source must have one shape");
    }
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    System.arraycopy(in[1].data(), 0, in[0].data(), 0, in[1].numel());
  }
}
