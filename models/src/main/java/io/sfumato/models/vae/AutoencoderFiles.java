// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import io.sfumato.models.nn.Module;
import io.sfumato.models.unet.LegacyNames;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.io.TensorSource;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.io.WeightsException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.function.Function;

/** Reading of the models of this package. */
final class AutoencoderFiles {
  private static final System.Logger LOG = System.getLogger("io.sfumato.models");

  private AutoencoderFiles() {}

  /** Builds a model from a folder's weights, and demands that it uses all of them. */
  static <M extends Module> M open(Path folder, boolean upcast, Function<Weights, M> build) {
    TensorSource source = TensorSource.open(folder);
    try {
      source = LegacyNames.of(source);
    } catch (RuntimeException e) {
      source.close();
      throw e;
    }
    boolean half =
        source.entries().values().stream().anyMatch(e -> e.dtype().equals(Optional.of(DType.F16)));
    try (Weights stored = Weights.from(source)) {
      Weights weights = stored;
      if (upcast && half) {
        LOG.log(
            System.Logger.Level.INFO,
            "{0}: F16 weights are read as F32, since config.json says force_upcast; set it to"
                + " false if the model is known not to overflow in F16",
            folder);
        weights = stored.as(DType.F32);
      }
      M model = build.apply(weights);
      try {
        weights.requireAllUsed();
      } catch (WeightsException e) {
        model.close();
        throw e;
      }
      return model;
    }
  }
}
