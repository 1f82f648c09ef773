// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Tensor;
import java.util.Locale;

/** What a network predicts. With a = √ᾱ and s = √(1 - ᾱ), a noisy sample is x = a x₀ + s ε. */
public enum Prediction {
  /** The noise ε. */
  EPSILON,
  /** The clean sample x₀. */
  SAMPLE,
  /** v = a ε - s x₀ (Salimans and Ho, 2022). */
  V_PREDICTION,
  /** The velocity ε - x₀ of a rectified flow, where x = (1 - σ) x₀ + σ ε (Liu et al., 2022). */
  FLOW;

  /** The name in scheduler configurations, {@code flow_prediction} for FLOW. */
  public String configName() {
    return this == FLOW ? "flow_prediction" : name().toLowerCase(Locale.ROOT);
  }

  /**
   * The prediction of a configuration.
   *
   * @throws IllegalArgumentException if the name is unknown, listing those known
   */
  public static Prediction parse(String name) {
    for (Prediction p : values()) {
      if (p.configName().equals(name)) {
        return p;
      }
    }
    throw new IllegalArgumentException(
        "prediction_type must be epsilon, sample, v_prediction or flow_prediction; got '"
            + name
            + "'");
  }

  /**
   * The clean sample that an output implies.
   *
   * @param x the noisy sample a x₀ + s ε
   * @param output what the network said
   * @param a √ᾱ, or 1 - σ for a flow
   * @param s √(1 - ᾱ), or σ for a flow
   */
  Tensor x0(Tensor x, Tensor output, float a, float s) {
    return switch (this) {
      case EPSILON -> F32.quotient(x.sub(output.mul(s)), a);
      case SAMPLE -> output;
      case V_PREDICTION -> x.mul(a).sub(output.mul(s));
      case FLOW -> x.sub(output.mul(s));
    };
  }

  /** The noise that an output implies; parameters as for {@link #x0}. */
  Tensor epsilon(Tensor x, Tensor output, float a, float s) {
    return switch (this) {
      case EPSILON -> output;
      case SAMPLE -> F32.quotient(x.sub(output.mul(a)), s);
      case V_PREDICTION -> output.mul(a).add(x.mul(s));
      case FLOW -> x.add(output.mul(a));
    };
  }

  /** The clean sample that an output implies for x = x₀ + σ ε. */
  Tensor x0AtSigma(Tensor x, Tensor output, float sigma) {
    float square = sigma * sigma + 1;
    return switch (this) {
      case EPSILON -> x.sub(output.mul(sigma));
      case SAMPLE -> output;
      case V_PREDICTION -> output.mul(-sigma / F32.sqrt(square)).add(F32.quotient(x, square));
      case FLOW -> throw new IllegalStateException("a flow has no such noise levels");
    };
  }
}
