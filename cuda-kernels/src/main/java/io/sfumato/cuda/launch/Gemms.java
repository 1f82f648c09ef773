// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;

/** A way to multiply matrices on a device: this library's kernels, or NVIDIA's where they are. */
interface Gemms {
  /** Whether this takes the product, as far as can be told before. */
  boolean takes(Product p);

  /**
   * Launches it; {@code m}, {@code n} and the number of batches are at least 1.
   *
   * @return whether it did; if not, nothing was written
   */
  boolean run(Gpu gpu, Product p);
}
