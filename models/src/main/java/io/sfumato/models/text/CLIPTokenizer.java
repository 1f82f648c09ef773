// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.text;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.nn.ModelConfig;
import io.sfumato.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.text.Normalizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * CLIP's tokenizer: byte-level byte-pair encoding (Sennrich et al., 2016) of lower-cased words
 * (transformers models/clip/tokenization_clip.py). The text is composed (NFC), runs of white space
 * become one space, letters become small; words, single digits and runs of other signs are encoded
 * by themselves, their bytes written as 256 visible characters, the last with {@code </w>} behind
 * it. The special tokens (start, end, padding, unknown) stand for themselves in a text, so one that
 * pads with "!" never sees it as part of a word.
 *
 * {@snippet :
 * var tokenizer = CLIPTokenizer.open(folder);
 * Tensor ids = tokenizer.encode(List.of("a red circle")); // I64 [1, 77]
 * }
 */
public final class CLIPTokenizer {
  private static final System.Logger LOG = System.getLogger("io.sfumato.models");
  private static final String END_OF_WORD = "</w>";
  private static final List<String> FILES =
      List.of(
          "vocab.json",
          "merges.txt",
          "tokenizer.json",
          "tokenizer_config.json",
          "special_tokens_map.json",
          "added_tokens.json");
  private static final Pattern WORDS =
      Pattern.compile(
          "'s|'t|'re|'ve|'m|'ll|'d|\\p{L}+|\\p{N}|[^\\s\\p{L}\\p{N}]+",
          Pattern.UNICODE_CHARACTER_CLASS);
  private static final Pattern SPACES = Pattern.compile("\\s+", Pattern.UNICODE_CHARACTER_CLASS);
  private static final String[] BYTES = visibleBytes();

  private final Map<String, Integer> vocabulary;
  private final Map<String, Integer> ranks;
  private final int maxLength;
  private final int start;
  private final int end;
  private final int padding;
  private final int unknown;
  private final Pattern special;
  private final Map<String, byte[]> files;
  private final Map<String, List<Integer>> added; // words in small letters
  private final @Nullable Pattern addedWords;
  private final Map<String, List<Integer>> known = new HashMap<>();

  private CLIPTokenizer(
      Map<String, Integer> vocabulary,
      List<String> merges,
      JsonNode config,
      Map<String, byte[]> files,
      Path folder) {
    this.vocabulary = vocabulary;
    this.files = files;
    ranks = new HashMap<>();
    for (String merge : merges) {
      ranks.putIfAbsent(merge, ranks.size());
    }
    List<String> wrong = new ArrayList<>();
    String bos = content(config, "bos_token", "<|startoftext|>");
    String eos = content(config, "eos_token", "<|endoftext|>");
    start = id(bos, "bos_token", wrong);
    end = id(eos, "eos_token", wrong);
    String unk = content(config, "unk_token", "<|endoftext|>");
    String pad = content(config, "pad_token", "<|endoftext|>");
    unknown = id(unk, "unk_token", wrong);
    padding = id(pad, "pad_token", wrong);
    double longest = config.path("model_max_length").asDouble(77);
    if (longest < 2) {
      wrong.add("model_max_length must be 2 or more; got " + longest);
    }
    maxLength = longest > 1e6 ? 77 : (int) longest; // "no limit" is written as 1e30
    if (!wrong.isEmpty()) {
      throw new IllegalArgumentException(
          folder + ": cannot be used as a CLIPTokenizer: " + String.join("; ", wrong));
    }
    special =
        Pattern.compile(
            String.join("|", Stream.of(bos, eos, unk, pad).map(Pattern::quote).toList()));
    added = Map.of();
    addedWords = null;
  }

  private CLIPTokenizer(CLIPTokenizer other, Map<String, List<Integer>> added, int maxLength) {
    vocabulary = other.vocabulary;
    ranks = other.ranks;
    this.maxLength = maxLength;
    start = other.start;
    end = other.end;
    padding = other.padding;
    unknown = other.unknown;
    special = other.special;
    files = other.files;
    this.added = added;
    List<String> longestFirst =
        added.keySet().stream()
            .sorted(Comparator.comparingInt(String::length).reversed())
            .map(Pattern::quote)
            .toList();
    addedWords = added.isEmpty() ? null : Pattern.compile(String.join("|", longestFirst));
  }

  /**
   * The same tokenizer with one word more, which stands for several new tokens at once: those of
   * textual inversion. They have names as in diffusers, {@code word}, {@code word_1} and so on; in
   * a text the word becomes all of them, the name of a further one that one. Like transformers'
   * added tokens, names are found anywhere in a text, in capitals or not, before words are encoded.
   *
   * @param word the word, {@code <my-cat>} say
   * @param count how many tokens
   * @throws IllegalArgumentException if one of the names is a token already, or no word
   */
  public CLIPTokenizer withWord(String word, int count) {
    if (count < 1 || word.isBlank() || special.matcher(word).find() || !word.equals(word.strip())) {
      throw new IllegalArgumentException(
          "a new word must be some text without special tokens, for one token or more; got \""
              + word
              + "\" for "
              + count);
    }
    Map<String, List<Integer>> more = new LinkedHashMap<>(added);
    List<Integer> all = new ArrayList<>();
    int first = nextToken();
    for (int i = 0; i < count; i++) {
      String name = i == 0 ? word : word + "_" + i;
      if (vocabulary.containsKey(name)
          || more.putIfAbsent(composed(name), List.of(first + i)) != null) {
        throw new IllegalArgumentException(
            "the token \"" + name + "\" exists already; choose another word");
      }
      all.add(first + i);
    }
    more.put(composed(word), List.copyOf(all));
    return new CLIPTokenizer(this, more, maxLength);
  }

  /**
   * The same tokenizer for shorter texts.
   *
   * @param length of an encoded text, start and end included; 2 to {@link #maxLength}
   * @throws IllegalArgumentException if it is not
   */
  public CLIPTokenizer withLength(int length) {
    if (length < 2 || length > maxLength) {
      throw new IllegalArgumentException(
          "the length must be 2 to " + maxLength + "; got " + length);
    }
    return new CLIPTokenizer(this, added, length);
  }

  /** The number of the first token behind all there are. */
  private int nextToken() {
    int last = -1;
    for (int id : vocabulary.values()) {
      last = Math.max(last, id);
    }
    for (List<Integer> ids : added.values()) {
      last = Math.max(last, ids.getLast());
    }
    return last + 1;
  }

  /**
   * Reads {@code vocab.json} and {@code merges.txt}, or {@code tokenizer.json}; special tokens and
   * the longest text from {@code tokenizer_config.json}, if it is there.
   *
   * @param folder the tokenizer's folder
   * @throws IllegalArgumentException listing what is missing or wrong
   */
  public static CLIPTokenizer open(Path folder) {
    Map<String, byte[]> files = new LinkedHashMap<>();
    try {
      for (String name : FILES) {
        if (Files.isRegularFile(folder.resolve(name))) {
          files.put(name, Files.readAllBytes(folder.resolve(name)));
        }
      }
    } catch (IOException e) {
      throw new IllegalArgumentException(folder + ": cannot be read: " + e.getMessage(), e);
    }
    boolean pair = files.containsKey("vocab.json") && files.containsKey("merges.txt");
    if (!pair && !files.containsKey("tokenizer.json")) {
      throw new IllegalArgumentException(
          folder + ": a CLIPTokenizer needs vocab.json and merges.txt, or tokenizer.json");
    }
    JsonNode config =
        files.containsKey("tokenizer_config.json")
            ? ModelConfig.read(folder.resolve("tokenizer_config.json"))
            : com.fasterxml.jackson.databind.node.MissingNode.getInstance();
    if (pair) {
      return new CLIPTokenizer(
          vocabulary(ModelConfig.read(folder.resolve("vocab.json")), folder),
          merges(files.getOrDefault("merges.txt", new byte[0])),
          config,
          files,
          folder);
    }
    JsonNode model = ModelConfig.read(folder.resolve("tokenizer.json")).path("model");
    List<String> merges = new ArrayList<>();
    for (JsonNode merge : model.path("merges")) {
      merges.add(
          merge.isArray() ? merge.path(0).asText() + " " + merge.path(1).asText() : merge.asText());
    }
    return new CLIPTokenizer(
        vocabulary(model.path("vocab"), folder), merges, config, files, folder);
  }

  private static Map<String, Integer> vocabulary(JsonNode json, Path folder) {
    Map<String, Integer> vocabulary = new HashMap<>();
    json.properties().forEach(e -> vocabulary.put(e.getKey(), e.getValue().asInt(-1)));
    List<String> bad =
        vocabulary.entrySet().stream()
            .filter(e -> e.getValue() < 0)
            .map(Map.Entry::getKey)
            .limit(5)
            .toList();
    if (vocabulary.isEmpty() || !bad.isEmpty()) {
      throw new IllegalArgumentException(
          folder
              + ": the vocabulary must give a number for each token"
              + (bad.isEmpty() ? "; it is empty" : "; not so for " + bad));
    }
    return vocabulary;
  }

  private static List<String> merges(byte[] file) {
    return new String(file, StandardCharsets.UTF_8)
        .lines()
        .filter(line -> !line.startsWith("#version") && !line.isBlank())
        .toList();
  }

  private static String content(JsonNode config, String key, String byDefault) {
    JsonNode node = config.path(key);
    return node.isObject() ? node.path("content").asText(byDefault) : node.asText(byDefault);
  }

  private int id(String token, String role, List<String> wrong) {
    Integer id = vocabulary.get(token);
    if (id == null) {
      wrong.add(role + " '" + token + "' is not in the vocabulary");
      return 0;
    }
    return id;
  }

  /**
   * Writes the files it was read from, byte for byte. Words that were added are not in them; a log
   * line says so.
   */
  public void save(Path folder) {
    if (!added.isEmpty()) {
      LOG.log(
          System.Logger.Level.INFO,
          "{0}: the tokenizer''s files do not hold the added words {1}; they belong to the files of"
              + " their embeddings",
          folder,
          added.keySet());
    }
    try {
      Files.createDirectories(folder);
      for (Map.Entry<String, byte[]> e : files.entrySet()) {
        Files.write(folder.resolve(e.getKey()), e.getValue());
      }
    } catch (IOException e) {
      throw new UncheckedIOException(folder + ": cannot be written", e);
    }
  }

  /** The number of tokens of an encoded text, start and end included. */
  public int maxLength() {
    return maxLength;
  }

  /** The number of tokens there are, without those of added words. */
  public int vocabularySize() {
    return vocabulary.size();
  }

  /**
   * Texts as a model takes them: start, tokens, end, padding up to {@link #maxLength()}. What does
   * not fit is cut off, and logged.
   *
   * @return I64 [B, maxLength], in the current scope
   */
  public Tensor encode(List<String> texts) {
    long[] ids = new long[texts.size() * maxLength];
    Arrays.fill(ids, padding);
    for (int b = 0; b < texts.size(); b++) {
      List<Integer> tokens = tokens(texts.get(b));
      int fits = Math.min(tokens.size(), maxLength - 2);
      if (fits < tokens.size()) {
        LOG.log(
            System.Logger.Level.WARNING,
            "the text \"{0}\" has {1} tokens, of which the encoder takes {2}; the rest is cut off",
            texts.get(b),
            tokens.size(),
            fits);
      }
      ids[b * maxLength] = start;
      for (int i = 0; i < fits; i++) {
        ids[b * maxLength + 1 + i] = tokens.get(i);
      }
      ids[b * maxLength + 1 + fits] = end;
    }
    return Tensor.of(ids, texts.size(), maxLength);
  }

  /** The tokens of a text, without start, end and padding. */
  public List<Integer> tokens(String text) {
    List<Integer> tokens = new ArrayList<>();
    Matcher m = special.matcher(text);
    int from = 0;
    while (m.find()) {
      words(text.substring(from, m.start()), tokens);
      Integer id = vocabulary.get(m.group());
      tokens.add(id == null ? unknown : id);
      from = m.end();
    }
    words(text.substring(from), tokens);
    return tokens;
  }

  private static String composed(String text) {
    String nfc = Normalizer.normalize(text, Normalizer.Form.NFC);
    return lowerCase(SPACES.matcher(nfc).replaceAll(" "));
  }

  private void words(String text, List<Integer> tokens) {
    String small = composed(text);
    int from = 0;
    if (addedWords != null) {
      Matcher m = addedWords.matcher(small);
      while (m.find()) {
        knownWords(small.substring(from, m.start()), tokens);
        tokens.addAll(added.getOrDefault(m.group(), List.of()));
        from = m.end();
      }
    }
    knownWords(small.substring(from), tokens);
  }

  private void knownWords(String text, List<Integer> tokens) {
    Matcher m = WORDS.matcher(text);
    while (m.find()) {
      synchronized (known) {
        tokens.addAll(known.computeIfAbsent(m.group(), this::pairs));
      }
    }
  }

  /** Letter by letter: a sigma at the end of a word is a sigma like others. */
  private static String lowerCase(String text) {
    StringBuilder small = new StringBuilder(text.length());
    text.codePoints().forEach(c -> small.append(Character.toString(c).toLowerCase(Locale.ROOT)));
    return small.toString();
  }

  /** Byte-pair encoding of one word: the pair of lowest rank is joined until no pair has one. */
  private List<Integer> pairs(String word) {
    List<String> parts = new ArrayList<>();
    for (byte b : word.getBytes(StandardCharsets.UTF_8)) {
      parts.add(BYTES[b & 0xFF]);
    }
    parts.set(parts.size() - 1, parts.getLast() + END_OF_WORD);
    while (parts.size() > 1) {
      int best = -1;
      int lowest = Integer.MAX_VALUE;
      for (int i = 0; i + 1 < parts.size(); i++) {
        int rank = ranks.getOrDefault(parts.get(i) + " " + parts.get(i + 1), Integer.MAX_VALUE);
        if (rank < lowest) {
          lowest = rank;
          best = i;
        }
      }
      if (best < 0) {
        break;
      }
      parts.set(best, parts.get(best) + parts.remove(best + 1));
    }
    return parts.stream().map(p -> vocabulary.getOrDefault(p, unknown)).toList();
  }

  /**
   * The character each byte is written as: itself if it is a visible character of Latin-1, else the
   * next of those from U+0100 on.
   */
  private static String[] visibleBytes() {
    String[] characters = new String[256];
    int next = 256;
    for (int b = 0; b < 256; b++) {
      boolean visible = b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE;
      characters[b] = Character.toString(visible ? b : next++);
    }
    return characters;
  }
}
