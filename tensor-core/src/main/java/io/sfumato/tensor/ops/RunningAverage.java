// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.InPlaceOp;
import java.util.List;

/**
 * Follows a value in place: {@code running = (1 - momentum) running + momentum value}.
 *
 * @param momentum weight of the new value
 */
public record RunningAverage(double momentum) implements InPlaceOp {
  @Override
  public String name() {
    return "running_average";
  }

  @Override
  public int[] mutated() {
    return new int[] {0};
  }

  @Override
  public void check(List<TensorSpec> in) {
    Require.oneFloatingType(in);
    Require.shape(in.get(1), in.get(0).shape(), "value", "of the running one");
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] running = in[0].data();
    for (int i = 0; i < running.length; i++) {
      running[i] += momentum * (in[1].data()[i] - running[i]);
    }
  }
}
