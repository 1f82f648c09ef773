// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.InPlaceOp;
import java.util.List;

/**
 * One step of gradient descent with momentum on many parameters, as {@code torch.optim.SGD} without
 * dampening: {@code g = gradScale grad + decay p}, {@code v = μ v + g}, {@code p = p - lr v}; with
 * Nesterov {@code p = p - lr (g + μ v)}. v starts as 0. Inputs: all p, all gradients, and all v if
 * the momentum is not 0.
 *
 * @param count the number of parameters
 * @param learningRate lr
 * @param momentum μ
 * @param nesterov whether to look ahead
 * @param weightDecay decay
 * @param gradScale factor on the gradients, for clipping
 */
public record SgdStep(
    int count,
    double learningRate,
    double momentum,
    boolean nesterov,
    double weightDecay,
    double gradScale)
    implements InPlaceOp {
  @Override
  public String name() {
    return "sgd_step";
  }

  @Override
  public int[] mutated() {
    return momentum == 0 ? ParameterLists.numbers(count, 0) : ParameterLists.numbers(count, 0, 2);
  }

  @Override
  public void check(List<TensorSpec> in) {
    ParameterLists.check(in, count, momentum == 0 ? 2 : 3);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    for (int k = 0; k < count; k++) {
      double[] p = in[k].data();
      double[] grad = in[count + k].data();
      for (int i = 0; i < p.length; i++) {
        double g = gradScale * grad[i] + weightDecay * p[i];
        double update = g;
        if (momentum != 0) {
          double[] v = in[2 * count + k].data();
          v[i] = momentum * v[i] + g;
          update = nesterov ? g + momentum * v[i] : v[i];
        }
        p[i] -= learningRate * update;
      }
    }
  }
}
