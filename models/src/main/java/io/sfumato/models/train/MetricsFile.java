// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What a run measures, {@code metrics.jsonl}: one JSON object per line, with the keys {@code step},
 * {@code seconds}, and of a step {@code loss}, {@code learning_rate}, {@code gradient_norm}, {@code
 * images_per_second}, {@code live_bytes}, {@code peak_bytes}, {@code loss_scale}; of a validation
 * {@code validation_loss}; of a step that was left out {@code skipped}, the reason. Keys that a
 * line does not have are absent, numbers that are not finite too. Each line is written at once.
 */
public final class MetricsFile implements AutoCloseable {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final Path file;
  private final FileChannel channel;

  private MetricsFile(Path file, FileChannel channel) {
    this.file = file;
    this.channel = channel;
  }

  /**
   * Opens or makes the file. Lines of {@code nextStep} and later, of the run that is being
   * repeated, are dropped, and a last line that a crash cut short.
   *
   * @param file the file
   * @param nextStep the first step that is still to be done
   * @throws IllegalArgumentException if a line is no such line
   * @throws UncheckedIOException if the file cannot be read or written
   */
  public static MetricsFile open(Path file, long nextStep) {
    try {
      long keep = Files.exists(file) ? keep(file, nextStep) : 0;
      FileChannel channel =
          FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
      channel.truncate(keep);
      channel.position(keep);
      return new MetricsFile(file, channel);
    } catch (IOException e) {
      throw new UncheckedIOException(file + ": cannot be opened: " + e.getMessage(), e);
    }
  }

  private static long keep(Path file, long nextStep) throws IOException {
    byte[] bytes = Files.readAllBytes(file);
    int begin = 0;
    int line = 1;
    for (int i = 0; i < bytes.length; i++, line++) {
      while (i < bytes.length && bytes[i] != '\n') {
        i++;
      }
      if (i == bytes.length) {
        return begin; // cut short
      }
      String text = new String(bytes, begin, i - begin, StandardCharsets.UTF_8);
      if (step(file, line, text) >= nextStep) {
        return begin;
      }
      begin = i + 1;
    }
    return begin;
  }

  private static long step(Path file, int line, String text) {
    JsonNode json = null;
    try {
      json = JSON.readTree(text);
    } catch (JsonProcessingException e) {
      // told below
    }
    if (json == null || !json.path("step").isIntegralNumber()) {
      throw new IllegalArgumentException(
          file + ": line " + line + " is no JSON object with a step; move the file away");
    }
    return json.get("step").longValue();
  }

  /** A line in the making. */
  public static final class Line {
    private final Map<String, Object> values = new LinkedHashMap<>();

    /** A line of a step. */
    public Line(long step, double seconds) {
      values.put("step", step);
      put("seconds", seconds);
    }

    /** Adds a number; one that is null or not finite is left out. */
    public Line put(String key, @Nullable Double value) {
      if (value != null && Double.isFinite(value)) {
        values.put(key, value);
      }
      return this;
    }

    /** Adds a whole number. */
    public Line put(String key, long value) {
      values.put(key, value);
      return this;
    }

    /** Adds a text. */
    public Line put(String key, String value) {
      values.put(key, value);
      return this;
    }
  }

  /**
   * Appends a line.
   *
   * @throws UncheckedIOException if the file cannot be written
   */
  public void append(Line line) {
    try {
      byte[] text = (JSON.writeValueAsString(line.values) + "\n").getBytes(StandardCharsets.UTF_8);
      ByteBuffer bytes = ByteBuffer.wrap(text);
      while (bytes.hasRemaining()) {
        channel.write(bytes);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(file + ": cannot be written: " + e.getMessage(), e);
    }
  }

  @Override
  public void close() {
    try {
      channel.close();
    } catch (IOException e) {
      throw new UncheckedIOException(file + ": cannot be closed: " + e.getMessage(), e);
    }
  }
}
