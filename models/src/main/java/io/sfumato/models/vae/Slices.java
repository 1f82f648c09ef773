// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Shaping;
import java.util.function.UnaryOperator;

/** Batches computed sample by sample, so that the memory of one suffices. */
final class Slices {
  private Slices() {}

  /** {@code f} of each sample of [B, ...], joined. */
  static Tensor map(Tensor x, UnaryOperator<Tensor> f) {
    if (x.rank() == 0 || x.dim(0) < 2) {
      return f.apply(x);
    }
    Tensor[] results = new Tensor[x.dim(0)];
    for (int i = 0; i < results.length; i++) {
      Tensor sample = x.slice(0, i, i + 1);
      results[i] = Scope.run(() -> f.apply(sample));
    }
    return Shaping.concat(0, results);
  }
}
