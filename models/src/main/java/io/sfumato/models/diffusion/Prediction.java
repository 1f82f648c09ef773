// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

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
}
