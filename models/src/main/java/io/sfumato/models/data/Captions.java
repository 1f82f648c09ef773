// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The captions of a folder of pictures.
 *
 * <p>{@code metadata.jsonl} or {@code metadata.csv} (not both) in the folder or below it, as the
 * {@code imagefolder} loader of Hugging Face's datasets reads them: one JSON object per line, or a
 * table with a first line of names, with {@code file_name}, relative to the file's own folder, and
 * {@code text} (or {@code caption}). Otherwise a text file beside a picture with the same name but
 * for the extension, {@code .txt} or {@code .caption} (UTF-8, up to 64 KiB). A picture with both
 * such files is refused.
 */
final class Captions {
  /** Refuses what other readers would take for another value. */
  static final ObjectMapper JSON =
      JsonMapper.builder()
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .build();

  private static final int MAX_CAPTION = 1 << 16;
  private static final List<String> EXTENSIONS = List.of(".txt", ".caption");
  private static final List<String> METADATA = List.of("metadata.csv", "metadata.jsonl");

  private final Map<Path, String> listed;

  private Captions(Map<Path, String> listed) {
    this.listed = Map.copyOf(listed);
  }

  /**
   * Reads what metadata files say.
   *
   * @throws DatasetException if one is not valid, naming the line
   */
  static Captions find(Path folder) {
    Map<Path, String> listed = new HashMap<>();
    try (Stream<Path> all = Files.walk(folder.toRealPath())) {
      List<Path> files =
          all.filter(p -> METADATA.contains(p.getFileName().toString())).sorted().toList();
      if (files.stream().map(Path::getFileName).distinct().count() > 1) {
        throw DatasetException.of(
            folder, "has both metadata.csv and metadata.jsonl; keep one kind: " + files);
      }
      for (Path file : files) {
        String text = utf8(file, Files.readAllBytes(file), "must be UTF-8 text");
        text = text.startsWith("\uFEFF") ? text.substring(1) : text; // as some programs mark UTF-8
        if (file.endsWith("metadata.csv")) {
          readTable(file, text, listed);
        } else {
          readLines(file, text, listed);
        }
      }
    } catch (IOException | UncheckedIOException e) {
      throw DatasetException.of(folder, "cannot be listed: " + e.getMessage(), e);
    }
    return new Captions(listed);
  }

  /**
   * {@return the caption of a picture, or null}
   *
   * @throws DatasetException if its text file cannot be used
   */
  @Nullable String of(Path image) {
    try {
      String known = listed.isEmpty() ? null : listed.get(image.toRealPath());
      return known == null ? beside(image) : blankToNull(known);
    } catch (IOException e) {
      throw DatasetException.of(image, "cannot be read: " + e.getMessage(), e);
    }
  }

  // ---- tables

  private static void readLines(Path file, String text, Map<Path, String> listed)
      throws IOException {
    int number = 0;
    for (String line : text.lines().toList()) {
      number++;
      if (line.isBlank()) {
        continue;
      }
      JsonNode node;
      try {
        node = JSON.readTree(line);
      } catch (JsonProcessingException e) {
        throw DatasetException.of(
            file, "line " + number + " is no JSON object: " + e.getOriginalMessage(), e);
      }
      String name = node.path("file_name").asText("");
      JsonNode caption = captionIn(node);
      if (name.isEmpty() || !caption.isTextual()) {
        throw DatasetException.of(
            file, "line " + number + " must have \"file_name\" and a text \"text\" or \"caption\"");
      }
      put(file, number, name, caption.textValue(), listed);
    }
  }

  private static void readTable(Path file, String text, Map<Path, String> listed)
      throws IOException {
    List<Csv.Row> rows = Csv.rows(file, text);
    List<String> names = rows.isEmpty() ? List.of() : rows.getFirst().fields();
    int name = names.indexOf("file_name");
    int caption = names.contains("text") ? names.indexOf("text") : names.indexOf("caption");
    if (name < 0 || caption < 0) {
      throw DatasetException.of(
          file,
          "line 1 must have the columns file_name and text or caption; it has "
              + String.join(", ", names));
    }
    for (Csv.Row row : rows.subList(1, rows.size())) {
      put(file, row.line(), row.fields().get(name), row.fields().get(caption), listed);
    }
  }

  private static void put(
      Path file, int line, String name, String caption, Map<Path, String> listed)
      throws IOException {
    Path image;
    try {
      image = file.resolveSibling(name);
    } catch (InvalidPathException e) {
      throw DatasetException.of(
          file, "line " + line + " has a file_name that no file can have: " + e.getReason(), e);
    }
    if (!Files.isRegularFile(image)) {
      throw DatasetException.of(
          file, "line " + line + " is about " + name + ", which is not there");
    }
    if (listed.put(image.toRealPath(), caption) != null) {
      throw DatasetException.of(file, "line " + line + " is about " + name + " once more");
    }
  }

  private static JsonNode captionIn(JsonNode node) {
    return node.has("text") ? node.path("text") : node.path("caption");
  }

  /**
   * {@return the caption in a JSON object, or null}
   *
   * @param file what messages call it
   * @throws DatasetException if it has one that is no text
   */
  static @Nullable String in(Path file, JsonNode node) {
    JsonNode caption = captionIn(node);
    if (caption.isMissingNode() || caption.isNull()) {
      return null;
    }
    if (!caption.isTextual()) {
      throw DatasetException.of(file, "\"text\" or \"caption\" must be a text");
    }
    return blankToNull(caption.textValue());
  }

  // ---- text files

  private static @Nullable String beside(Path image) throws IOException {
    String name = image.getFileName().toString();
    String stem = name.substring(0, name.lastIndexOf('.'));
    List<Path> files =
        EXTENSIONS.stream()
            .map(extension -> image.resolveSibling(stem + extension))
            .filter(Files::isRegularFile)
            .toList();
    if (files.size() > 1) {
      throw DatasetException.of(
          image, "has two captions, " + stem + ".txt and " + stem + ".caption; remove one");
    }
    Optional<Path> file = files.stream().findFirst();
    if (file.isEmpty()) {
      return null;
    }
    try (InputStream in = Files.newInputStream(file.get())) {
      return text(file.get(), in.readNBytes(MAX_CAPTION + 1));
    }
  }

  /**
   * {@return a caption; null if it is blank}
   *
   * @param file what messages call it
   * @param text its bytes
   * @throws DatasetException if it is too long, or not UTF-8
   */
  static @Nullable String text(Path file, byte[] text) {
    if (text.length > MAX_CAPTION) {
      throw DatasetException.at(file, MAX_CAPTION, "the end of the caption", "more text");
    }
    return blankToNull(utf8(file, text, "a caption must be UTF-8 text"));
  }

  private static String utf8(Path file, byte[] text, String problem) {
    try {
      return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(text)).toString();
    } catch (CharacterCodingException e) {
      throw DatasetException.of(file, problem, e);
    }
  }

  private static @Nullable String blankToNull(String text) {
    return text.isBlank() ? null : text.strip();
  }
}
