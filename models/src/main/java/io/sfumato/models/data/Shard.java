// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * What one tar archive of a {@link WebDataset} holds.
 *
 * @param file the archive
 * @param length its length when it was read
 * @param samples those with a picture, in the order of their first files
 * @param withoutPicture how many others there are
 * @param firstWithout the first one of these; empty if there is none
 */
record Shard(
    Path file, long length, List<Sample> samples, int withoutPicture, String firstWithout) {
  private static final int MAX_TEXT = 1 << 16;
  private static final int MAX_JSON = 1 << 20;

  /**
   * A picture and what belongs to it.
   *
   * @param key what its files have in common
   * @param image where its picture is
   * @param caption its caption
   * @param className its class, if it has a file that says so
   */
  record Sample(
      String key, TarIndex.Entry image, Optional<String> caption, Optional<String> className) {
    /** The first folder of the key. */
    Optional<String> folder() {
      int slash = key.indexOf('/');
      return slash < 0 ? Optional.empty() : Optional.of(key.substring(0, slash));
    }
  }

  /**
   * Reads headers, captions and classes.
   *
   * @throws DatasetException if the archive or one of them cannot be used
   */
  static Shard of(Path file) {
    try (FileChannel channel = FileChannel.open(file)) {
      Reader reader = new Reader(file, channel);
      Map<String, Map<String, TarIndex.Entry>> byKey = reader.byKey();
      List<Sample> samples = new ArrayList<>();
      List<String> without = new ArrayList<>();
      for (Map.Entry<String, Map<String, TarIndex.Entry>> e : byKey.entrySet()) {
        Sample sample = reader.sample(e.getKey(), e.getValue());
        if (sample == null) {
          without.add(e.getKey());
        } else {
          samples.add(sample);
        }
      }
      return new Shard(
          file,
          channel.size(),
          List.copyOf(samples),
          without.size(),
          without.isEmpty() ? "" : without.getFirst());
    } catch (IOException e) {
      throw DatasetException.of(file, "cannot be read: " + e, e);
    }
  }

  /** Reads from an open archive. */
  private record Reader(Path file, FileChannel channel) {
    /** The files of each key, by what follows it. */
    Map<String, Map<String, TarIndex.Entry>> byKey() throws IOException {
      Map<String, Map<String, TarIndex.Entry>> byKey = new LinkedHashMap<>();
      for (TarIndex.Entry entry : TarIndex.of(file, channel)) {
        int base = entry.name().lastIndexOf('/') + 1;
        int dot = entry.name().indexOf('.', base);
        if (dot <= base) {
          continue; // a hidden file, or one that says nothing of its kind
        }
        TarIndex.Entry first =
            byKey
                .computeIfAbsent(entry.name().substring(0, dot), k -> new LinkedHashMap<>())
                .putIfAbsent(entry.name().substring(dot + 1).toLowerCase(Locale.ROOT), entry);
        if (first != null) {
          throw DatasetException.at(
              file,
              entry.header(),
              "one file of each name",
              entry.name() + " once more, after " + first.name() + " at byte " + first.header());
        }
      }
      return byKey;
    }

    /** A sample, or null if there is no picture. */
    @Nullable Sample sample(String key, Map<String, TarIndex.Entry> files) throws IOException {
      List<TarIndex.Entry> images = new ArrayList<>();
      files.forEach(
          (kind, entry) -> {
            if (!kind.contains(".") && ImageFiles.hasImageName(Path.of("x." + kind))) {
              images.add(entry);
            }
          });
      if (images.size() > 1) {
        throw DatasetException.at(
            file,
            images.get(1).header(),
            "one picture of " + key,
            images.getFirst().name() + " and " + images.get(1).name());
      }
      if (images.isEmpty()) {
        return null;
      }
      TarIndex.Entry text = files.get("txt");
      TarIndex.Entry caption = files.get("caption");
      if (text != null && caption != null) {
        throw DatasetException.at(
            file,
            caption.header(),
            "one caption of " + key,
            text.name() + " and " + caption.name());
      }
      TarIndex.Entry spoken = text == null ? caption : text;
      TarIndex.Entry json = files.get("json");
      String words =
          spoken != null
              ? text(spoken)
              : json == null ? null : Captions.in(path(json), object(json));
      TarIndex.Entry type = files.get("cls");
      return new Sample(
          key,
          images.getFirst(),
          Optional.ofNullable(words),
          type == null ? Optional.empty() : Optional.of(className(type)));
    }

    private String className(TarIndex.Entry entry) throws IOException {
      String name = text(entry);
      if (name == null || name.chars().anyMatch(Character::isISOControl)) {
        throw DatasetException.of(path(entry), "must name a class, in one line");
      }
      return name;
    }

    private @Nullable String text(TarIndex.Entry entry) throws IOException {
      return Captions.text(path(entry), bytes(entry, MAX_TEXT));
    }

    private JsonNode object(TarIndex.Entry entry) throws IOException {
      try {
        JsonNode node = Captions.JSON.readTree(bytes(entry, MAX_JSON));
        if (node.isObject()) {
          return node;
        }
        throw DatasetException.of(path(entry), "must be a JSON object");
      } catch (JsonProcessingException e) {
        throw DatasetException.of(path(entry), "is no JSON: " + e.getOriginalMessage(), e);
      }
    }

    private byte[] bytes(TarIndex.Entry entry, int most) throws IOException {
      if (entry.size() > most) {
        throw DatasetException.at(
            file,
            entry.header(),
            "at most " + most + " bytes of text",
            entry.size() + " in " + entry.name());
      }
      return TarIndex.bytes(file, channel, entry.begin(), (int) entry.size());
    }

    private Path path(TarIndex.Entry entry) {
      return file.resolve(entry.name());
    }
  }
}
