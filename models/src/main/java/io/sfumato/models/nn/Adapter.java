// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.Tensor;
import java.util.function.UnaryOperator;

/**
 * What sits in the slot of a {@link WeightLayer} and changes its output: LoRA and its relatives.
 * Neither model code nor parameter names change when one is attached.
 */
@FunctionalInterface
public interface Adapter {
  /**
   * The adapted output.
   *
   * @param layer the layer whose slot this is in
   * @param x its input
   * @param base the layer's own computation, or that with the adapters before this one; see {@link
   *     WeightLayer#isBase}
   */
  Tensor apply(WeightLayer layer, Tensor x, UnaryOperator<Tensor> base);
}
