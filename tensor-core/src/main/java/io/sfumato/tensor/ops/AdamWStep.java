// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.InPlaceOp;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * One step of Adam (Kingma and Ba 2015) or AdamW (Loshchilov and Hutter 2019) on many parameters:
 * with {@code g = gradScale clip grad}, {@code m = β₁ m + (1 - β₁) g}, {@code v = β₂ v + (1 - β₂)
 * g²}, {@code p = p (1 - lr decay) - lr (m / (1 - β₁ᵗ)) / (sqrt(v / (1 - β₂ᵗ)) + ε)}. Not decoupled
 * (Adam), the decay adds {@code decay p} to g instead. As {@code torch.optim.AdamW}. Inputs: all p,
 * all gradients, all m, all v, all averages if there are any, and the squared norm if it is
 * limited.
 *
 * <p>With a largest norm, {@code clip = min(1, maxNorm / (norm + 1e-6))} with {@code norm =
 * |gradScale| sqrt(s)}, where s is the squared norm of the gradients as they come, a scalar on the
 * device ({@link SquaredNorm}): nothing is read back. A norm that is not finite limits nothing. As
 * {@code torch.nn.utils.clip_grad_norm_}.
 *
 * <p>With averages, the same pass then takes {@code average += (1 - averageDecay) (p - average)}
 * with the new p, as {@link EmaStep}.
 *
 * @param count the number of parameters
 * @param learningRate lr
 * @param beta1 β₁
 * @param beta2 β₂
 * @param eps ε
 * @param weightDecay decay
 * @param decoupled AdamW if true, else Adam
 * @param step t, 1 for the first step
 * @param gradScale factor on the gradients
 * @param maxNorm the largest norm of the scaled gradients; null if they are not limited
 * @param averageDecay decay of the averages; null if there are none
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
    double gradScale,
    @Nullable Double maxNorm,
    @Nullable Double averageDecay)
    implements InPlaceOp {
  private static final double TINY = 1e-6; // PyTorch's, added to the norm

  /** Checks the limit. */
  public AdamWStep {
    if (maxNorm != null && !(maxNorm > 0)) {
      throw new IllegalArgumentException("the largest norm must be positive; got " + maxNorm);
    }
  }

  /** A step without limit and averages. */
  public AdamWStep(
      int count,
      double learningRate,
      double beta1,
      double beta2,
      double eps,
      double weightDecay,
      boolean decoupled,
      long step,
      double gradScale) {
    this(
        count,
        learningRate,
        beta1,
        beta2,
        eps,
        weightDecay,
        decoupled,
        step,
        gradScale,
        null,
        null);
  }

  /** How many lists of {@code count} tensors the inputs start with. */
  public int lists() {
    return averageDecay == null ? 4 : 5;
  }

  /** The factor on gradients whose squared norm is {@code squaredNorm}, gradScale included. */
  public double factor(double squaredNorm) {
    if (maxNorm == null) {
      return gradScale;
    }
    double norm = Math.abs(gradScale) * Math.sqrt(squaredNorm);
    double fits = maxNorm / (norm + TINY);
    return Double.isFinite(norm) && fits < 1 ? gradScale * fits : gradScale;
  }

  @Override
  public String name() {
    return "adamw_step";
  }

  @Override
  public int[] mutated() {
    return averageDecay == null
        ? ParameterLists.numbers(count, 0, 2, 3)
        : ParameterLists.numbers(count, 0, 2, 3, 4);
  }

  @Override
  public void check(List<TensorSpec> in) {
    if (maxNorm == null) {
      ParameterLists.check(in, count, lists());
      return;
    }
    ParameterLists.check(in.subList(0, Math.max(0, in.size() - 1)), count, lists());
    TensorSpec norm = in.getLast();
    boolean wide = norm.dtype() == DType.F32 || norm.dtype() == DType.F64;
    if (!wide || !norm.shape().equals(Shape.SCALAR)) {
      throw new ShapeException("the squared norm must be a scalar in f32 or f64; got " + norm);
    }
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double rate = learningRate / (1 - Math.pow(beta1, step));
    double root = Math.sqrt(1 - Math.pow(beta2, step));
    double scale = maxNorm == null ? gradScale : factor(in[in.length - 1].data()[0]);
    for (int k = 0; k < count; k++) {
      double[] p = in[k].data();
      double[] grad = in[count + k].data();
      double[] m = in[2 * count + k].data();
      double[] v = in[3 * count + k].data();
      for (int i = 0; i < p.length; i++) {
        double g = scale * grad[i] + (decoupled ? 0 : weightDecay * p[i]);
        m[i] = beta1 * m[i] + (1 - beta1) * g;
        v[i] = beta2 * v[i] + (1 - beta2) * g * g;
        double kept = decoupled ? p[i] * (1 - learningRate * weightDecay) : p[i];
        p[i] = kept - rate * m[i] / (Math.sqrt(v[i]) / root + eps);
      }
      if (averageDecay != null) {
        double[] average = in[4 * count + k].data();
        for (int i = 0; i < p.length; i++) {
          average[i] += (1 - averageDecay) * (p[i] - average[i]);
        }
      }
    }
  }
}
