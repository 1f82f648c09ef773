// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.nn.ModelConfig;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * What a checkpoint consists of, {@code training/manifest.json}: the size and the SHA-256 of each
 * file, an id made of all of them, and the id of the checkpoint that the run had written before, so
 * that checkpoints form a line as commits do.
 *
 * @param id SHA-256 of the step, the parent and the files, in hexadecimal digits
 * @param parent the id of the checkpoint before, or null
 * @param step optimiser steps done
 * @param files by path within the checkpoint
 */
record Manifest(String id, @Nullable String parent, long step, Map<String, Entry> files) {
  private static final String NAME = "training/manifest.json";

  /**
   * A file.
   *
   * @param bytes its size
   * @param sha256 of its contents, in hexadecimal digits
   */
  record Entry(long bytes, String sha256) {}

  /** Describes a complete folder and writes the description into it. */
  static void write(Path folder, @Nullable String parent, long step) throws IOException {
    Map<String, Entry> files = new TreeMap<>();
    for (String name : names(folder)) {
      files.put(name, entry(folder.resolve(name)));
    }
    Map<String, Object> described = new LinkedHashMap<>();
    files.forEach((name, e) -> described.put(name, Map.of("bytes", e.bytes, "sha256", e.sha256)));
    Map<String, @Nullable Object> json = new LinkedHashMap<>();
    json.put("id", idOf(parent, step, files));
    json.put("parent", parent);
    json.put("step", step);
    json.put("files", described);
    ModelConfig.write(folder.resolve(NAME), json);
  }

  /**
   * Reads a checkpoint's description.
   *
   * @throws IllegalArgumentException if it is missing or not valid
   */
  static Manifest read(Path folder) {
    Path file = folder.resolve(NAME);
    JsonNode json = ModelConfig.read(file);
    Map<String, Entry> files = new TreeMap<>();
    json.path("files")
        .properties()
        .forEach(
            e ->
                files.put(
                    e.getKey(),
                    new Entry(
                        e.getValue().path("bytes").asLong(-1),
                        e.getValue().path("sha256").asText(""))));
    String parent = json.path("parent").isTextual() ? json.path("parent").textValue() : null;
    long step = json.path("step").asLong(-1);
    Manifest manifest = new Manifest(json.path("id").asText(""), parent, step, files);
    if (files.isEmpty() || !manifest.id.equals(idOf(parent, step, files))) {
      throw new IllegalArgumentException(file + ": its id does not fit its entries");
    }
    return manifest;
  }

  /** What is wrong with a checkpoint, in words; null if every file is as it was written. */
  static @Nullable String problem(Path folder) {
    try {
      Manifest manifest = read(folder);
      for (Map.Entry<String, Entry> e : manifest.files.entrySet()) {
        Path file = folder.resolve(e.getKey()).normalize();
        Entry expected = e.getValue();
        if (!file.startsWith(folder.normalize()) || !Files.isRegularFile(file)) {
          return e.getKey() + " is missing";
        }
        if (Files.size(file) != expected.bytes) {
          return e.getKey() + " has " + Files.size(file) + " bytes instead of " + expected.bytes;
        }
        if (!entry(file).equals(expected)) {
          return e.getKey() + " is damaged: its SHA-256 is not the one that was written";
        }
      }
      return null;
    } catch (IllegalArgumentException e) {
      return e.getMessage();
    } catch (IOException e) {
      return "cannot be read: " + e;
    }
  }

  private static List<String> names(Path folder) throws IOException {
    try (Stream<Path> all = Files.walk(folder)) {
      return all.filter(Files::isRegularFile)
          .map(p -> folder.relativize(p).toString().replace('\\', '/'))
          .filter(name -> !name.equals(NAME))
          .sorted()
          .toList();
    }
  }

  private static Entry entry(Path file) throws IOException {
    MessageDigest digest = sha256();
    byte[] buffer = new byte[1 << 16];
    long bytes = 0;
    try (InputStream in = Files.newInputStream(file)) {
      for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
        digest.update(buffer, 0, n);
        bytes += n;
      }
    }
    return new Entry(bytes, HexFormat.of().formatHex(digest.digest()));
  }

  private static String idOf(@Nullable String parent, long step, Map<String, Entry> files) {
    StringBuilder text = new StringBuilder("step " + step + "\nparent " + parent + "\n");
    files.forEach(
        (name, e) ->
            text.append(e.sha256)
                .append(' ')
                .append(e.bytes)
                .append(' ')
                .append(name)
                .append('\n'));
    byte[] bytes = text.toString().getBytes(StandardCharsets.UTF_8);
    return HexFormat.of().formatHex(sha256().digest(bytes));
  }

  static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
  }
}
