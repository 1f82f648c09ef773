// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.text;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The tokenizer against transformers' CLIPTokenizer; see make_text.py. */
class CLIPTokenizerTest {
  @TempDir Path temporary;

  private static Path folder() throws URISyntaxException {
    return Path.of(CLIPTokenizerTest.class.getResource("/text/tokenizer").toURI());
  }

  @Test
  void tokensAreThoseOfTransformers() throws URISyntaxException {
    CLIPTokenizer tokenizer = CLIPTokenizer.open(folder());
    JsonNode cases = ModelConfig.read(folder().resolve("tokens.json")).get("cases");
    assertTrue(cases.size() >= 25, "cases: " + cases.size());
    check(tokenizer, cases);
  }

  /** Words of one token and of several, which diffusers writes one after the other. */
  @Test
  void addedWordsAreThoseOfTransformers() throws URISyntaxException {
    CLIPTokenizer plain = CLIPTokenizer.open(folder());
    JsonNode golden = ModelConfig.read(folder().resolve("with_words.json"));
    CLIPTokenizer tokenizer = plain;
    for (var word : golden.get("words").properties()) {
      tokenizer = tokenizer.withWord(word.getKey(), word.getValue().asInt());
    }
    assertTrue(golden.get("cases").size() >= 10, "cases: " + golden.get("cases").size());
    check(tokenizer, golden.get("cases"));
    int n = plain.vocabularySize();
    assertEquals(n, tokenizer.vocabularySize());
    assertEquals(List.of(n + 1), tokenizer.tokens("<my-toy>_1"));
    assertEquals(
        ModelConfig.read(folder().resolve("tokens.json")).get("cases").get(2).get("tokens").size(),
        plain.tokens("a small red star at the top left on a blue background").size());
    CLIPTokenizer added = tokenizer;
    for (String taken : List.of("<my-toy>", "<My-Toy>", "<my-toy>_2", "red</w>", "newstyle")) {
      IllegalArgumentException e =
          assertThrows(IllegalArgumentException.class, () -> added.withWord(taken, 1));
      assertTrue(e.getMessage().contains("exists already"), e.getMessage());
    }
    for (String wrong : List.of("", " ", " x", "a<|endoftext|>")) {
      assertThrows(IllegalArgumentException.class, () -> added.withWord(wrong, 1));
    }
    assertThrows(IllegalArgumentException.class, () -> added.withWord("x", 0));
  }

  private static void check(CLIPTokenizer tokenizer, JsonNode cases) {
    for (JsonNode c : cases) {
      String text = c.get("text").asText();
      List<Integer> expected = new ArrayList<>();
      c.get("tokens").forEach(n -> expected.add(n.asInt()));
      assertEquals(expected, tokenizer.tokens(text), text);
      long[] ids = new long[77];
      Arrays.setAll(ids, i -> c.get("ids").get(i).asLong());
      try (Scope scope = Scope.open()) {
        Tensor encoded = tokenizer.encode(List.of(text));
        assertArrayEquals(new int[] {1, 77}, encoded.shape().dims());
        assertArrayEquals(ids, encoded.toLongArray(), text);
      }
    }
  }

  @Test
  void whatIsCutOffIsLogged() throws URISyntaxException {
    CLIPTokenizer tokenizer = CLIPTokenizer.open(folder());
    List<String> lines = new ArrayList<>();
    Handler handler =
        new Handler() {
          @Override
          public void publish(LogRecord r) {
            lines.add(
                r.getParameters() == null
                    ? r.getMessage()
                    : java.text.MessageFormat.format(r.getMessage(), r.getParameters()));
          }

          @Override
          public void flush() {}

          @Override
          public void close() {}
        };
    Logger logger = Logger.getLogger("io.sfumato.models");
    boolean parents = logger.getUseParentHandlers();
    logger.setUseParentHandlers(false);
    logger.addHandler(handler);
    try (Scope scope = Scope.open()) {
      tokenizer.encode(List.of("1 ".repeat(75)));
      assertEquals(List.of(), lines);
      tokenizer.encode(List.of("1 ".repeat(76)));
      assertEquals(1, lines.size());
      assertTrue(lines.getFirst().contains("has 76 tokens"), lines.getFirst());
      assertTrue(lines.getFirst().contains("takes 75"), lines.getFirst());
    } finally {
      logger.removeHandler(handler);
      logger.setUseParentHandlers(parents);
    }
  }

  @Test
  void savedFilesAreTheReadOnes() throws URISyntaxException, IOException {
    CLIPTokenizer.open(folder()).save(temporary.resolve("copy"));
    for (String name : List.of("vocab.json", "merges.txt", "tokenizer_config.json")) {
      assertArrayEquals(
          Files.readAllBytes(folder().resolve(name)),
          Files.readAllBytes(temporary.resolve("copy").resolve(name)),
          name);
    }
  }

  @Test
  void readsTokenizerJsonWithBothKindsOfMerges() throws URISyntaxException, IOException {
    CLIPTokenizer tokenizer = CLIPTokenizer.open(folder());
    String vocab = Files.readString(folder().resolve("vocab.json"));
    List<String> lines =
        Files.readAllLines(folder().resolve("merges.txt")).stream()
            .filter(l -> !l.startsWith("#version"))
            .map(l -> l.replace("\\", "\\\\").replace("\"", "\\\""))
            .toList();
    for (boolean pairs : new boolean[] {false, true}) {
      String merges =
          String.join(
              ",",
              lines.stream()
                  .map(l -> pairs ? "[\"" + l.replace(" ", "\",\"") + "\"]" : "\"" + l + "\"")
                  .toList());
      Path other = Files.createDirectories(temporary.resolve("json" + pairs));
      Files.writeString(
          other.resolve("tokenizer.json"),
          "{\"model\":{\"vocab\":" + vocab + ",\"merges\":[" + merges + "]}}");
      String text = "a small red star at the top left";
      assertEquals(tokenizer.tokens(text), CLIPTokenizer.open(other).tokens(text));
    }
  }

  @Test
  void wrongFoldersAreRefusedWithReasons() throws IOException {
    var none = assertThrows(IllegalArgumentException.class, () -> CLIPTokenizer.open(temporary));
    assertTrue(none.getMessage().contains("vocab.json and merges.txt"), none.getMessage());
    Files.writeString(temporary.resolve("vocab.json"), "{\"a\":0,\"<|endoftext|>\":1}");
    Files.writeString(temporary.resolve("merges.txt"), "#version: 0.2\n");
    Files.writeString(
        temporary.resolve("tokenizer_config.json"), "{\"pad_token\":\"x\",\"model_max_length\":1}");
    var wrong = assertThrows(IllegalArgumentException.class, () -> CLIPTokenizer.open(temporary));
    assertTrue(wrong.getMessage().contains("bos_token '<|startoftext|>'"), wrong.getMessage());
    assertTrue(wrong.getMessage().contains("pad_token 'x'"), wrong.getMessage());
    assertTrue(wrong.getMessage().contains("model_max_length"), wrong.getMessage());
  }
}
