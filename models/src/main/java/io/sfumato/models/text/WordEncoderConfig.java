// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.text;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.data.ImageDataset;
import io.sfumato.models.nn.ModelConfig;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * The configuration of {@link WordEncoder}.
 *
 * @param vocabulary the words, without white space; word {@code i} is token {@code i + 1}
 * @param maxTokens the most words of a text
 * @param width of the embeddings
 */
public record WordEncoderConfig(List<String> vocabulary, int maxTokens, int width) {
  private static final String CLASS = "WordEncoder";

  /** Checks the values together; the message lists everything wrong. */
  public WordEncoderConfig {
    vocabulary = List.copyOf(vocabulary);
    List<String> wrong = new ArrayList<>();
    if (vocabulary.isEmpty()) {
      wrong.add("vocabulary must not be empty");
    }
    Set<String> seen = new HashSet<>();
    for (String word : vocabulary) {
      if (word.isBlank() || !word.equals(WordEncoder.words(word).getFirst())) {
        wrong.add("vocabulary must hold single words in lower case; got '" + word + "'");
      } else if (!seen.add(word)) {
        wrong.add("vocabulary holds '" + word + "' twice");
      }
    }
    if (maxTokens < 1) {
      wrong.add("max_tokens must be positive; got " + maxTokens);
    }
    if (width < 1) {
      wrong.add("width must be positive; got " + width);
    }
    if (!wrong.isEmpty()) {
      throw new IllegalArgumentException(CLASS + ": " + String.join("; ", wrong));
    }
  }

  /** The configuration for the names of a data set's classes. */
  public static WordEncoderConfig forClasses(ImageDataset data, int width) {
    return forTexts(data.classNames(), width);
  }

  /** The configuration for all words of some texts. */
  public static WordEncoderConfig forTexts(Collection<String> texts, int width) {
    Set<String> words = new TreeSet<>();
    int longest = 1;
    for (String text : texts) {
      List<String> parts = WordEncoder.words(text);
      words.addAll(parts);
      longest = Math.max(longest, parts.size());
    }
    return new WordEncoderConfig(List.copyOf(words), longest, width);
  }

  /**
   * Reads a {@code config.json}.
   *
   * @throws IllegalArgumentException if the file is not valid, listing everything wrong
   */
  public static WordEncoderConfig read(Path file) {
    JsonNode json = ModelConfig.read(file, CLASS);
    var r = new ModelConfig.Reader(json, file.toString());
    return r.build(
        () ->
            new WordEncoderConfig(
                r.texts("vocabulary", List.of()),
                r.integer("max_tokens", 0),
                r.integer("width", 0)));
  }

  /** The keys of {@code config.json}. */
  public Map<String, @Nullable Object> toMap() {
    var map = ModelConfig.start(CLASS);
    map.put("vocabulary", vocabulary);
    map.put("max_tokens", maxTokens);
    map.put("width", width);
    return map;
  }
}
