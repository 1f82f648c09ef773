// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Dropout;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Tensor;
import java.util.Arrays;
import java.util.Optional;

/**
 * The dropouts of LoHa and LoKr, in training: of whole output rows of ΔW, and of the whole adapter.
 *
 * @param rows probability with which an output row is dropped
 * @param rescale whether the kept rows are divided by the share that was kept
 * @param module probability with which the layer goes without its adapter
 */
record DeltaDropout(double rows, boolean rescale, double module) {
  static final DeltaDropout NONE = new DeltaDropout(0, false, 0);

  DeltaDropout {
    if (!(rows >= 0 && rows < 1 && module >= 0 && module < 1)) {
      throw new IllegalArgumentException(
          "rank_dropout and module_dropout must be in [0, 1); got " + rows + " and " + module);
    }
  }

  /** Whether the adapter at {@code path} is left out now. */
  boolean skips(String path) {
    Optional<Rng> rng = Dropout.current();
    return module > 0
        && rng.isPresent()
        && rng.get().fork(path).fork("module").uniform(1).item() < module;
  }

  /** The change with dropped rows; {@code axis} is the one of the outputs. */
  Tensor apply(Tensor change, int axis, String path) {
    Optional<Rng> rng = Dropout.current();
    if (rows == 0 || rng.isEmpty()) {
      return change;
    }
    int n = change.dim(axis);
    float[] draws = rng.get().fork(path).fork("rows").uniform(n).toFloatArray();
    double[] kept = new double[n];
    Arrays.setAll(kept, i -> draws[i] < rows ? 0 : 1);
    double share = Arrays.stream(kept).average().orElse(1);
    if (rescale && share > 0) {
      Arrays.setAll(kept, i -> kept[i] / share);
    }
    int[] shape = new int[change.rank()];
    Arrays.fill(shape, 1);
    shape[axis < 0 ? axis + shape.length : axis] = n;
    Tensor mask = Tensor.of(kept, n).to(change.dtype()).to(change.device());
    return change.mul(mask.reshape(shape));
  }
}
