// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;

/** Where a sampler's noise comes from, draw by draw. */
@FunctionalInterface
public interface NoiseSource {
  /** The next standard normal tensor. */
  Tensor next(TensorSpec spec);

  /** Draws from consecutive steps of {@code rng}. */
  static NoiseSource of(Rng rng) {
    return new NoiseSource() {
      private long step;

      @Override
      public Tensor next(TensorSpec spec) {
        return rng.step(step++).normal(spec);
      }
    };
  }
}
