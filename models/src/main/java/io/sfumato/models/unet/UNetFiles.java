// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.ShardedTensors;
import io.sfumato.tensor.io.TensorSource;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.io.WeightsException;
import java.nio.file.Path;
import java.util.Map;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** Model folders of diffusers: {@code config.json} and weights, for the models of this package. */
final class UNetFiles {
  private static final String BASE = "diffusion_pytorch_model";

  private UNetFiles() {}

  static Path config(Path folder) {
    return folder.resolve("config.json");
  }

  /** Builds a model from a folder's weights, old names too, and demands that it uses all. */
  static <M extends Module> M open(Path folder, Function<Weights, M> build) {
    TensorSource source = TensorSource.open(folder);
    try {
      source = LegacyNames.of(source);
    } catch (RuntimeException e) {
      source.close();
      throw e;
    }
    try (Weights weights = Weights.from(source)) {
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

  static void save(Path folder, Map<String, @Nullable Object> config, Module model) {
    ModelConfig.write(config(folder), config);
    SafeTensors.save(folder.resolve(BASE + ".safetensors"), model.stateDict());
  }

  static void save(
      Path folder, Map<String, @Nullable Object> config, Module model, long maxShardBytes) {
    ModelConfig.write(config(folder), config);
    ShardedTensors.save(folder, BASE, model.stateDict(), maxShardBytes);
  }
}
