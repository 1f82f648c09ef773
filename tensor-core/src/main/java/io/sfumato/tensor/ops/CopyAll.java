// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.InPlaceOp;
import java.util.List;

/**
 * {@code target = x} for many tensors, each cast to its target's type as {@link Cast}: 16-bit
 * parameters after a step on their f32 masters. Inputs: all targets, all x.
 *
 * @param count the number of tensors
 */
public record CopyAll(int count) implements InPlaceOp {
  @Override
  public String name() {
    return "copy_all";
  }

  @Override
  public int[] mutated() {
    return ParameterLists.numbers(count, 0);
  }

  @Override
  public void check(List<TensorSpec> in) {
    ParameterLists.check(in, count, 2);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    for (int k = 0; k < count; k++) {
      System.arraycopy(in[count + k].data(), 0, in[k].data(), 0, in[k].numel());
    }
  }
}
