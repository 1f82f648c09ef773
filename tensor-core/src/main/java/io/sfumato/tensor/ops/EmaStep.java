// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.InPlaceOp;
import java.util.List;

/**
 * Exponential moving averages of many tensors: {@code a = a + (1 - decay) (x - a)}. Inputs: all
 * averages, all x.
 *
 * @param count the number of tensors
 * @param decay how much of the average stays
 */
public record EmaStep(int count, double decay) implements InPlaceOp {
  @Override
  public String name() {
    return "ema_step";
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
      double[] average = in[k].data();
      double[] x = in[count + k].data();
      for (int i = 0; i < x.length; i++) {
        average[i] += (1 - decay) * (x[i] - average[i]);
      }
    }
  }
}
