// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import io.sfumato.tensor.Tensor;
import java.util.function.Consumer;
import java.util.function.Supplier;

/** Sees a sampler's steps, and may stop it. */
@FunctionalInterface
public interface Listener {
  /** Sees nothing. */
  Listener NONE = progress -> true;

  /**
   * A call of the network is done.
   *
   * @param progress where the sampler is; its tensors are valid during this call
   * @return whether to go on; if not, the sampler returns {@code progress.x()}
   */
  boolean step(Progress progress);

  /** A listener that never stops the sampler. */
  static Listener watching(Consumer<Progress> consumer) {
    return progress -> {
      consumer.accept(progress);
      return true;
    };
  }

  /**
   * Where a sampler is.
   *
   * @param step calls of the network that are done
   * @param of how many there are
   * @param time the network's time at this call
   * @param x the sample after it
   * @param preview computes an estimate of the clean sample
   */
  record Progress(int step, int of, double time, Tensor x, Supplier<Tensor> preview) {
    /** An estimate of the clean sample, computed when asked for. */
    public Tensor x0() {
      return preview.get();
    }
  }
}
