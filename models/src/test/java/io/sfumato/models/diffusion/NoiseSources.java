// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

/** Sources of noise for tests. */
final class NoiseSources {
  private NoiseSources() {}

  /** One that must not be asked. */
  static NoiseSource none() {
    return spec -> {
      throw new AssertionError("no noise is needed");
    };
  }
}
