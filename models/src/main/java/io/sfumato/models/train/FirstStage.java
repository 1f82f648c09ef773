// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Tensor;
import java.nio.file.Path;

/** What comes before the network that a {@link DiffusionTrainer} trains: an autoencoder, say. */
public interface FirstStage {
  /**
   * What the network sees of pictures. It is not trained.
   *
   * @param images [B, C, H, W] in [-1, 1]
   * @param rng the source of everything random
   */
  Tensor encode(Tensor images, Rng rng);

  /**
   * Writes the pipeline that network and first stage make together. The averaged weights are in the
   * network during this call.
   *
   * @param folder an existing folder
   */
  void save(Path folder);
}
