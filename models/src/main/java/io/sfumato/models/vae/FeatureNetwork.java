// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import io.sfumato.tensor.Tensor;
import java.util.List;

/**
 * A network by whose features pictures are compared, for example VGG16 up to its five last
 * activations before pooling. A {@link io.sfumato.models.nn.Module} that keeps its intermediate
 * results is one by a method reference.
 */
@FunctionalInterface
public interface FeatureNetwork {
  /**
   * The features of pictures.
   *
   * @param x [B, C, H, W], values in [-1, 1]; the network brings them to its own scale
   * @return feature maps [B, Cᵢ, Hᵢ, Wᵢ], the same kinds at each call
   */
  List<Tensor> features(Tensor x);
}
