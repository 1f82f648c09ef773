// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Executor;

/** Linear algebra beyond products. */
public final class Linalg {
  private Linalg() {}

  /**
   * The inverses of square matrices, [..., n, n]. A singular one gives values that are not finite.
   */
  public static Tensor inverse(Tensor a) {
    return Executor.run(new Inverse(), a);
  }
}
