// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.PromptSlot;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import java.nio.file.Path;
import java.util.Map;

/**
 * Prompt tuning (Lester et al. 2021, <a href="https://arxiv.org/abs/2104.08691">arXiv:2104.08691
 * </a>): n trained vectors before those of the tokens, with positions before theirs, in PEFT's
 * form. The model's states are longer by n; for models with few positions texts must be shorter by
 * n, see {@link io.sfumato.models.text.CLIPTokenizer#withLength}.
 *
 * {@snippet :
 * try (var prompt = PromptTuning.attach(encoder, 8, rng)) {
 *   Tensor states = encoder.call(tokenizer.withLength(69).encode(texts)); // [B, 77, width]
 *   prompt.save("FEATURE_EXTRACTION", folder);
 * }
 * }
 */
public final class PromptTuning extends PromptLearning {
  private static final String TYPE = "PROMPT_TUNING";

  private final PromptSlot slot;
  private final Parameter vectors;

  private <M extends Module & PromptSlot.Holder> PromptTuning(
      Weights weights, M model, int tokens) {
    super(weights);
    vectors = parameter(KEY, Shape.of(tokens, model.promptWidth()), Init.normal(1));
    slot = model.promptSlot();
    try {
      slot.attach(() -> isOn() ? vectors.value() : null);
    } catch (IllegalStateException e) {
      super.close();
      throw e;
    }
  }

  /**
   * Fresh vectors of N(0, 1), as in PEFT.
   *
   * @param model with a place for them
   * @param tokens how many
   * @throws IllegalArgumentException if the model has no positions for so many
   * @throws IllegalStateException if it has a prompt already
   */
  public static <M extends Module & PromptSlot.Holder> PromptTuning attach(
      M model, int tokens, Rng rng) {
    checkPositions(model, tokens);
    Tensor like = model.parameters().getFirst().value();
    return new PromptTuning(Weights.init(rng, like.dtype(), like.device()), model, tokens);
  }

  private static void checkPositions(PromptSlot.Holder model, int tokens) {
    if (tokens < 1 || tokens >= model.positions()) {
      throw new IllegalArgumentException(
          "virtual tokens must leave some of the model's "
              + model.positions()
              + " positions to its own; got "
              + tokens);
    }
  }

  /**
   * Reads a folder of PEFT.
   *
   * @throws IllegalArgumentException about everything in the configuration that is wrong, is not
   *     supported, or does not fit the model
   * @throws io.sfumato.tensor.io.WeightsException if a tensor is missing, misshapen, or left over;
   *     the model stays as it was
   */
  public static <M extends Module & PromptSlot.Holder> PromptTuning open(M model, Path folder) {
    PeftConfig config = new PeftConfig(folder.resolve("adapter_config.json"));
    Size size = size(config, TYPE, folder);
    config.text("prompt_tuning_init", "RANDOM"); // of fresh vectors, as is what follows
    config.text("prompt_tuning_init_text", "");
    config.text("tokenizer_name_or_path", "");
    if (size.width() != model.promptWidth()) {
      config.wrong("token_dim", "the model's width " + model.promptWidth(), size.width(), 0);
    }
    config.requireUnderstood();
    checkPositions(model, size.tokens());
    return read(folder, model, weights -> new PromptTuning(weights, model, size.tokens()));
  }

  @Override
  Tensor flattened() {
    return vectors.value();
  }

  @Override
  Map<String, Object> settings() {
    return Map.of(
        "peft_type",
        TYPE,
        "num_virtual_tokens",
        vectors.value().dim(0),
        "token_dim",
        vectors.value().dim(1),
        "prompt_tuning_init",
        "RANDOM");
  }

  /** Takes the vectors out of the model and lets go of them. */
  @Override
  public void close() {
    slot.detach();
    super.close();
  }
}
