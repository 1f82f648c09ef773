// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.pipeline;

import io.sfumato.models.nn.Module;
import io.sfumato.models.text.CLIPTextModel;
import io.sfumato.models.text.CLIPTokenizer;
import io.sfumato.models.text.WordEncoder;
import io.sfumato.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** How prompts or classes become what a network is conditioned on. */
public sealed interface Conditioner {
  /** What is wrong with a prompt, in words; empty if nothing is. */
  List<String> problems(String prompt);

  /**
   * The condition of prompts.
   *
   * @return one row each, in the current scope; null if there is no condition
   */
  @Nullable Tensor condition(List<String> prompts);

  /**
   * The condition that stands for "none", or for what is not wanted.
   *
   * @param negative what is not wanted; empty for nothing in particular
   * @return one row; null if the network was not trained without a condition
   */
  @Nullable Tensor unconditional(String negative);

  /** The text encoder, if there is one. */
  default Optional<Module> encoder() {
    return Optional.empty();
  }

  /** No condition at all. */
  record None() implements Conditioner {
    @Override
    public List<String> problems(String prompt) {
      return prompt.isEmpty()
          ? List.of()
          : List.of("this pipeline takes no prompt; got '" + prompt + "'");
    }

    @Override
    public @Nullable Tensor condition(List<String> prompts) {
      return null;
    }

    @Override
    public @Nullable Tensor unconditional(String negative) {
      return null;
    }
  }

  /**
   * Labels of a table of classes; a prompt is the name of a class, or its number.
   *
   * @param names of the classes
   * @param noClass the label that stands for "no class"; null if the table has none
   */
  record Classes(List<String> names, @Nullable Integer noClass) implements Conditioner {
    @Override
    public List<String> problems(String prompt) {
      return label(prompt) >= 0
          ? List.of()
          : List.of("'" + prompt + "' is not one of the classes " + shown());
    }

    private String shown() {
      return names.size() <= 100 ? names.toString() : names.subList(0, 100) + " and so on";
    }

    private int label(String prompt) {
      if (prompt.isEmpty() && noClass != null) {
        return noClass;
      }
      int named = names.indexOf(prompt);
      if (named < 0 && prompt.matches("\\d{1,6}")) {
        int number = Integer.parseInt(prompt);
        return number < names.size() ? number : -1;
      }
      return named;
    }

    @Override
    public Tensor condition(List<String> prompts) {
      long[] labels = prompts.stream().mapToLong(this::label).toArray();
      if (Arrays.stream(labels).anyMatch(l -> l < 0)) {
        throw new IllegalArgumentException(prompts + " must be of the classes " + shown());
      }
      return Tensor.of(labels, labels.length);
    }

    @Override
    public @Nullable Tensor unconditional(String negative) {
      return negative.isEmpty() && noClass == null ? null : condition(List.of(negative));
    }
  }

  /**
   * Words of a small vocabulary.
   *
   * @param words the encoder
   */
  record Words(WordEncoder words) implements Conditioner {
    @Override
    public List<String> problems(String prompt) {
      return words.problems(prompt);
    }

    @Override
    public Tensor condition(List<String> prompts) {
      return words.call(words.encode(prompts)); // [B, L, D]
    }

    @Override
    public Tensor unconditional(String negative) {
      return condition(List.of(negative));
    }

    @Override
    public Optional<Module> encoder() {
      return Optional.of(words);
    }
  }

  /**
   * CLIP's text encoder.
   *
   * @param tokenizer its tokenizer
   * @param model the encoder
   */
  record Clip(CLIPTokenizer tokenizer, CLIPTextModel model) implements Conditioner {
    @Override
    public List<String> problems(String prompt) {
      return List.of();
    }

    @Override
    public Tensor condition(List<String> prompts) {
      Tensor ids = tokenizer.encode(prompts);
      return model.call(ids.to(model.parameters().getFirst().value().device())); // [B, L, D]
    }

    @Override
    public Tensor unconditional(String negative) {
      return condition(List.of(negative));
    }

    @Override
    public Optional<Module> encoder() {
      return Optional.of(model);
    }
  }
}
