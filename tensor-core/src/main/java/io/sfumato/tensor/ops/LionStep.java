// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.InPlaceOp;
import java.util.List;

/**
 * One step of Lion (Chen et al. 2023) on many parameters: with {@code g = gradScale grad}, {@code p
 * = p (1 - lr decay) - lr sign(β₁ m + (1 - β₁) g)}, {@code m = β₂ m + (1 - β₂) g}. Inputs: all p,
 * all gradients, all m.
 *
 * @param count the number of parameters
 * @param learningRate lr
 * @param beta1 β₁
 * @param beta2 β₂
 * @param weightDecay decay
 * @param gradScale factor on the gradients, for clipping
 */
public record LionStep(
    int count,
    double learningRate,
    double beta1,
    double beta2,
    double weightDecay,
    double gradScale)
    implements InPlaceOp {
  @Override
  public String name() {
    return "lion_step";
  }

  @Override
  public int[] mutated() {
    return ParameterLists.numbers(count, 0, 2);
  }

  @Override
  public void check(List<TensorSpec> in) {
    ParameterLists.check(in, count, 3);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    for (int k = 0; k < count; k++) {
      double[] p = in[k].data();
      double[] grad = in[count + k].data();
      double[] m = in[2 * count + k].data();
      for (int i = 0; i < p.length; i++) {
        double g = gradScale * grad[i];
        double update = Math.signum(beta1 * m[i] + (1 - beta1) * g);
        p[i] = p[i] * (1 - learningRate * weightDecay) - learningRate * update;
        m[i] = beta2 * m[i] + (1 - beta2) * g;
      }
    }
  }
}
