// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.InPlaceOp;
import java.util.List;

/**
 * One step of Adam (Kingma and Ba 2015) or AdamW (Loshchilov and Hutter 2019) on many parameters:
 * with {@code g = gradScale grad}, {@code m = β₁ m + (1 - β₁) g}, {@code v = β₂ v + (1 - β₂) g²},
 * {@code p = p (1 - lr decay) - lr (m / (1 - β₁ᵗ)) / (sqrt(v / (1 - β₂ᵗ)) + ε)}. Not decoupled
 * (Adam), the decay adds {@code decay p} to g instead. As {@code torch.optim.AdamW}. Inputs: all p,
 * all gradients, all m, all v.
 *
 * @param count the number of parameters
 * @param learningRate lr
 * @param beta1 β₁
 * @param beta2 β₂
 * @param eps ε
 * @param weightDecay decay
 * @param decoupled AdamW if true, else Adam
 * @param step t, 1 for the first step
 * @param gradScale factor on the gradients, for clipping
 */
public record AdamWStep(
    int count,
    double learningRate,
    double beta1,
    double beta2,
    double eps,
    double weightDecay,
    boolean decoupled,
    long step,
    double gradScale)
    implements InPlaceOp {
  @Override
  public String name() {
    return "adamw_step";
  }

  @Override
  public int[] mutated() {
    return ParameterLists.numbers(count, 0, 2, 3);
  }

  @Override
  public void check(List<TensorSpec> in) {
    ParameterLists.check(in, count, 4);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double rate = learningRate / (1 - Math.pow(beta1, step));
    double root = Math.sqrt(1 - Math.pow(beta2, step));
    for (int k = 0; k < count; k++) {
      double[] p = in[k].data();
      double[] grad = in[count + k].data();
      double[] m = in[2 * count + k].data();
      double[] v = in[3 * count + k].data();
      for (int i = 0; i < p.length; i++) {
        double g = gradScale * grad[i] + (decoupled ? 0 : weightDecay * p[i]);
        m[i] = beta1 * m[i] + (1 - beta1) * g;
        v[i] = beta2 * v[i] + (1 - beta2) * g * g;
        double kept = decoupled ? p[i] * (1 - learningRate * weightDecay) : p[i];
        p[i] = kept - rate * m[i] / (Math.sqrt(v[i]) / root + eps);
      }
    }
  }
}
