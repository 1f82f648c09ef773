// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.nn.Module;
import io.sfumato.models.quant.Quantization;
import io.sfumato.tensor.io.ShardedTensors;
import io.sfumato.tensor.io.TensorSource;
import io.sfumato.tensor.io.Weights;
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

  /**
   * Builds a model from a folder's weights, coded ones and old names too, and demands that it uses
   * all.
   */
  static <M extends Module> M open(Path folder, Function<Weights, M> build) {
    return Quantization.load(folder, TensorSource.open(folder), LegacyNames::of, build);
  }

  static void save(Path folder, Map<String, @Nullable Object> config, Module model) {
    ModelConfig.write(config(folder), Quantization.describe(config, model));
    Quantization.save(folder.resolve(BASE + ".safetensors"), model);
  }

  static void save(
      Path folder, Map<String, @Nullable Object> config, Module model, long maxShardBytes) {
    if (!Quantization.weights(model).isEmpty()) {
      throw new IllegalArgumentException("a quantized model is written as one file");
    }
    ModelConfig.write(config(folder), config);
    ShardedTensors.save(folder, BASE, model.stateDict(), maxShardBytes);
  }
}
