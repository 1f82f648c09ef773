// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.ModelConfig;
import io.sfumato.models.nn.Module;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.TensorFileException;
import io.sfumato.tensor.io.TensorSource;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.io.WeightsException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Virtual tokens that are trained while the model stays as it is, in PEFT's folders: {@code
 * adapter_config.json} and the single tensor {@code prompt_embeddings} in {@code
 * adapter_model.safetensors}.
 */
public abstract sealed class PromptLearning extends Module permits PrefixTuning, PromptTuning {
  /** The tensor's key in files, and our parameter's name. */
  static final String KEY = "prompt_embeddings";

  private volatile boolean on = true;

  /** Virtual tokens whose parameters come from {@code weights}. */
  protected PromptLearning(Weights weights) {
    super(weights);
  }

  /** What is written: one row per virtual token, in the current scope. */
  abstract Tensor flattened();

  /** The keys of PEFT's configuration, but for those that all kinds have. */
  abstract Map<String, Object> settings();

  /** Switches the virtual tokens on or off; off, the model computes as without, bit for bit. */
  public final void setOn(boolean value) {
    on = value;
  }

  /** Whether they are on. */
  public final boolean isOn() {
    return on;
  }

  /** Computes {@code body} without the virtual tokens. */
  public final <T> T without(Supplier<T> body) {
    boolean before = on;
    on = false;
    try {
      return body.get();
    } finally {
      on = before;
    }
  }

  /**
   * Writes a folder that PEFT reads.
   *
   * @param taskType how PEFT's model is to treat it: {@code CAUSAL_LM} or {@code
   *     FEATURE_EXTRACTION}, say; null to leave it open
   * @param folder made if missing
   * @throws TensorFileException if it cannot be written
   */
  public final void save(@Nullable String taskType, Path folder) {
    Map<String, Object> config = new TreeMap<>(settings());
    config.put("inference_mode", true);
    config.put("num_transformer_submodules", 1);
    if (taskType != null) {
      config.put("task_type", taskType);
    }
    try {
      Files.createDirectories(folder);
    } catch (IOException e) {
      throw new TensorFileException(folder, "cannot be made: " + e.getMessage(), e);
    }
    try (Scope scope = Scope.open()) {
      ModelConfig.write(folder.resolve("adapter_config.json"), config);
      SafeTensors.save(
          folder.resolve("adapter_model.safetensors"),
          Map.of(KEY, flattened()),
          Map.of("format", "pt"));
    }
  }

  /** The size that a configuration of PEFT speaks of; 0 where it says nothing. */
  record Size(int tokens, int width, int heads, int layers) {}

  /**
   * Reads what all kinds have in common.
   *
   * @param type the {@code peft_type} that is expected
   * @throws IllegalArgumentException if it is another one
   */
  static Size size(PeftConfig config, String type, Path folder) {
    if (!config.type().equals(type)) {
      throw new IllegalArgumentException(
          folder + ": holds an adapter of kind " + config.type() + ", not " + type);
    }
    int submodules = config.integer("num_transformer_submodules", 1);
    if (submodules != 1) {
      config.wrong("num_transformer_submodules", "1 (no encoder beside a decoder)", submodules, 0);
    }
    Size size =
        new Size(
            config.integer("num_virtual_tokens", 0),
            config.integer("token_dim", 0),
            config.integer("num_attention_heads", 0),
            config.integer("num_layers", 0));
    if (size.tokens < 1) {
      config.wrong("num_virtual_tokens", "1 or more", size.tokens, 0);
    }
    return size;
  }

  /** Builds from the tensor of a folder, all of whose tensors must be used. */
  static <T extends PromptLearning> T read(Path folder, Module model, Function<Weights, T> build) {
    Tensor like = model.parameters().getFirst().value();
    try (Weights weights =
        Weights.from(TensorSource.open(folder.resolve("adapter_model.safetensors")))
            .as(like.dtype())
            .on(like.device())) {
      T read = build.apply(weights);
      try {
        weights.requireAllUsed();
        StoredValues.check(read.parameters(), folder.toString());
      } catch (WeightsException | IllegalArgumentException e) {
        read.close();
        throw e;
      }
      return read;
    }
  }
}
