// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

/**
 * The coefficients of DPM-Solver's updates, in the reference's 32-bit arithmetic. With h = λ_t -
 * λ_s and model outputs m₀ (newest), m₁, m₂ at falling levels, a step is
 *
 * <pre>x_t = c₀ x + c₁ m₀ + c₂ D₁ + c₃ D₂ (+ noise),</pre>
 *
 * where D₁ and D₂ are divided differences of the outputs in λ.
 *
 * @param data whether outputs are x₀ (DPM-Solver++) rather than ε
 * @param noisy whether the differential equation is stochastic
 * @param heun whether the second-order step is Heun's rather than the midpoint's
 */
record DpmFormulas(boolean data, boolean noisy, boolean heun) {
  /** What a noise level means: x = α x₀ + σ ε, λ = ln α - ln σ. */
  record At(float alpha, float sigma, float lambda) {}

  /**
   * c₀ to c₃ of a step; those beyond its order are 0.
   *
   * @throws IllegalStateException if the step has none, since two levels are equal
   */
  float[] coefficients(At to, At from, int order) {
    float h = to.lambda - from.lambda;
    float[] c = data ? ofData(to, from, h, order) : ofNoise(to, from, h, order);
    for (float v : c) {
      if (!Float.isFinite(v)) {
        throw new IllegalStateException(
            "a DPM-Solver step of order "
                + order
                + " from sigma "
                + from.sigma / from.alpha
                + " to "
                + to.sigma / to.alpha
                + " has no finite coefficients: take fewer steps, or another spacing");
      }
    }
    return c;
  }

  private float[] ofData(At to, At from, float h, int order) {
    float[] c = new float[4];
    if (noisy) {
      float g = 1 - F32.exp(-2 * h);
      c[0] = to.sigma / from.sigma * F32.exp(-h);
      c[1] = to.alpha * g;
      if (order > 1) {
        boolean midpoint = order == 2 && !heun;
        c[2] = midpoint ? 0.5f * (to.alpha * g) : to.alpha * (g / (-2 * h) + 1);
      }
      if (order == 3) {
        c[3] = to.alpha * ((g - 2 * h) / (2 * h * (2 * h)) - 0.5f);
      }
      return c;
    }
    float e = F32.exp(-h) - 1;
    c[0] = to.sigma / from.sigma;
    c[1] = -(to.alpha * e);
    if (order > 1) {
      c[2] = order == 2 && !heun ? -0.5f * (to.alpha * e) : to.alpha * (e / h + 1);
    }
    if (order == 3) {
      c[3] = -(to.alpha * ((e + h) / (h * h) - 0.5f));
    }
    return c;
  }

  private float[] ofNoise(At to, At from, float h, int order) {
    float e = F32.exp(h) - 1;
    float times = noisy ? 2 : 1;
    float[] c = new float[4];
    c[0] = to.alpha / from.alpha;
    c[1] = -times * (to.sigma * e);
    if (order > 1) {
      boolean midpoint = order == 2 && !heun;
      c[2] = midpoint ? -0.5f * times * (to.sigma * e) : -times * (to.sigma * (e / h - 1));
    }
    if (order == 3) {
      c[3] = -(to.sigma * ((e - h) / (h * h) - 0.5f));
    }
    return c;
  }

  /** The standard deviation of the noise that a stochastic step adds. */
  float noise(At to, At from) {
    float h = to.lambda - from.lambda;
    return to.sigma * F32.sqrt(data ? 1 - F32.exp(-2 * h) : F32.exp(2 * h) - 1);
  }
}
