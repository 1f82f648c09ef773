// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

/**
 * What a noise level means to a solver: x = α x₀ + σ ε, and λ = ln α - ln σ, half the logarithm of
 * the signal-to-noise ratio. All in 32 bits, as in the reference.
 */
enum Levels {
  /** The level s is σ/α of a process that preserves variance: α = 1/√(s² + 1), σ = s α. */
  VARIANCE_PRESERVING,
  /** The level is σ of a rectified flow: α = 1 - σ. */
  FLOW;

  float alpha(float level) {
    return this == FLOW ? 1 - level : 1 / F32.sqrt(level * level + 1);
  }

  float sigma(float level) {
    return this == FLOW ? level : level * alpha(level);
  }

  /** +∞ at level 0. */
  float lambda(float level) {
    return F32.log(alpha(level)) - F32.log(sigma(level));
  }
}
