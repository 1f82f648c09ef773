// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import java.util.function.UnaryOperator;

/**
 * An adapter that gives the layer another weight: {@link #merged} says which, and the output is the
 * layer's with it. The bias is left alone.
 */
abstract class WeightAdapter extends LayerAdapter {
  WeightAdapter(WeightLayer layer, Weights weights) {
    super(layer, weights);
  }

  @Override
  public Tensor apply(Tensor x, UnaryOperator<Tensor> base, double strength) {
    return withMerged(x, base, strength);
  }
}
