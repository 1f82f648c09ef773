// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
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
 * <p>{@code metadata.jsonl} in the folder or below it, as the {@code imagefolder} loader of Hugging
 * Face's datasets reads it: one JSON object per line with {@code file_name}, relative to the file's
 * own folder, and {@code text} (or {@code caption}). Otherwise a text file beside a picture with
 * the same name but for the extension, {@code .txt} or {@code .caption} (UTF-8, up to 64 KiB). A
 * picture with both such files is refused.
 */
final class Captions {
  private static final int MAX_CAPTION = 1 << 16;
  private static final List<String> EXTENSIONS = List.of(".txt", ".caption");
  private static final String METADATA = "metadata.jsonl";

  private final Map<Path, String> listed;

  private Captions(Map<Path, String> listed) {
    this.listed = Map.copyOf(listed);
  }

  /**
   * Reads what {@code metadata.jsonl} files say.
   *
   * @throws DatasetException if one is not valid, naming the line
   */
  static Captions find(Path folder) {
    Map<Path, String> listed = new HashMap<>();
    try (Stream<Path> all = Files.walk(folder.toRealPath())) {
      List<Path> files =
          all.filter(p -> p.getFileName().toString().equals(METADATA)).sorted().toList();
      for (Path file : files) {
        read(file, listed);
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

  private static void read(Path file, Map<Path, String> listed) throws IOException {
    ObjectMapper json = new ObjectMapper();
    List<String> lines;
    try {
      lines = Files.readAllLines(file);
    } catch (CharacterCodingException e) {
      throw DatasetException.of(file, "must be UTF-8 text", e);
    }
    int number = 0;
    for (String line : lines) {
      number++;
      if (line.isBlank()) {
        continue;
      }
      JsonNode node;
      try {
        node = json.readTree(line);
      } catch (JsonProcessingException e) {
        throw DatasetException.of(
            file, "line " + number + " is no JSON object: " + e.getOriginalMessage(), e);
      }
      String name = node.path("file_name").asText("");
      JsonNode text = node.has("text") ? node.path("text") : node.path("caption");
      if (name.isEmpty() || !text.isTextual()) {
        throw DatasetException.of(
            file, "line " + number + " must have \"file_name\" and a text \"text\" or \"caption\"");
      }
      Path image = file.resolveSibling(name);
      if (!Files.isRegularFile(image)) {
        throw DatasetException.of(
            file, "line " + number + " is about " + name + ", which is not there");
      }
      if (listed.put(image.toRealPath(), text.textValue()) != null) {
        throw DatasetException.of(file, "line " + number + " is about " + name + " once more");
      }
    }
  }

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
    return file.isEmpty() ? null : text(file.get());
  }

  private static @Nullable String text(Path file) throws IOException {
    try (InputStream in = Files.newInputStream(file)) {
      byte[] text = in.readNBytes(MAX_CAPTION + 1);
      if (text.length > MAX_CAPTION) {
        throw DatasetException.at(file, MAX_CAPTION, "the end of the caption", "more text");
      }
      return blankToNull(
          StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(text)).toString());
    } catch (CharacterCodingException e) {
      throw DatasetException.of(file, "a caption must be UTF-8 text", e);
    }
  }

  private static @Nullable String blankToNull(String text) {
    return text.isBlank() ? null : text.strip();
  }
}
