// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Elements;
import io.sfumato.tensor.exec.StridedLoop;

/** Copies elements between tensors of the same shape and any types and layouts. */
final class Casts {
  private Casts() {}

  /** {@code to = from}, element by element, rounded to the type of {@code to}. */
  static void copy(Tensor from, Tensor to) {
    DType a = from.dtype();
    DType b = to.dtype();
    long source = from.storage().address();
    long target = to.storage().address();
    long[] positions = new long[Math.toIntExact(to.numel())];
    int[] k = {0};
    StridedLoop.forEach(to.layout(), p -> positions[k[0]++] = p);
    k[0] = 0;
    StridedLoop.forEach(
        from.layout(),
        p ->
            Elements.put(
                b,
                target + positions[k[0]++] * b.bytes(),
                Elements.get(a, source + p * a.bytes())));
  }
}
