// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.io.Weights;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** A kind of adapter with its settings: what builds the part that sits in one layer. */
public interface AdapterKind {
  /**
   * Why this kind cannot adapt a layer.
   *
   * @return the reason in words, or null if it can
   */
  @Nullable String refuses(WeightLayer layer);

  /**
   * Whether this kind is for normalisations, too. Patterns leave them out for all others, so that
   * "every layer" means those with a matrix.
   */
  default boolean adaptsNorms() {
    return false;
  }

  /**
   * Builds what all parts of one adapter share, if the kind has such a thing.
   *
   * @param layers all layers that will be adapted
   * @param root gives its parameters
   */
  default @Nullable Module shared(List<WeightLayer> layers, Weights root) {
    return null;
  }

  /**
   * Builds the part for one layer.
   *
   * @param layer the layer, of the model that is adapted
   * @param weights gives the part's parameters, already at the layer's path
   * @param shared what {@link #shared} gave for all layers
   */
  LayerAdapter build(WeightLayer layer, Weights weights, @Nullable Module shared);

  /** The kind as which files hold it, with {@link LayerAdapter#storedDict}; itself for most. */
  default AdapterKind stored() {
    return this;
  }

  /** The settings as PEFT writes them; null if PEFT has no such kind. */
  default @Nullable PeftForm peft() {
    return null;
  }
}
