// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Op;
import java.util.Arrays;
import java.util.List;

/**
 * A tensor of one value.
 *
 * @param spec what to make
 * @param value the value of every element
 */
public record Full(TensorSpec spec, double value) implements Op {
  @Override
  public String name() {
    return "full";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    return List.of(spec);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    Arrays.fill(out[0].data(), value);
  }
}
