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

  /**
   * {@code s x (A₁B₁ ⊙ A₂B₂)ᵀ}, a product with the change of a weight as LoHa has it; on a GPU
   * without that matrix in memory.
   *
   * @param x [..., in]
   * @param a1 [out, r]
   * @param b1 [r, in]
   * @param a2 [out, r]
   * @param b2 [r, in]
   * @param scale the factor s
   * @return [..., out]
   */
  public static Tensor hadamardLowRank(
      Tensor x, Tensor a1, Tensor b1, Tensor a2, Tensor b2, double scale) {
    return Executor.run(new HadamardLowRank(scale), x, a1, b1, a2, b2);
  }
}
