// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.dataformat.yaml.YAMLFactory;
import com.fasterxml.jackson.dataformat.yaml.YAMLGenerator;
import io.sfumato.tensor.io.AtomicFile;
import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collection;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.CommandSpec;

/**
 * The values that a program runs with, wherever they came from, as a file that {@code --config}
 * reads. Values that the program works out for itself, for options that are absent, are not in it.
 */
public final class EffectiveConfig {
  /** Of one start of a program, not of what it computes. */
  private static final Set<String> LEFT_OUT = Set.of("resume", "stop_after");

  private EffectiveConfig() {}

  /**
   * Writes the file whole or not at all.
   *
   * @param spec of the program, after its command line was parsed
   * @param file where to; its folder exists
   */
  public static void write(CommandSpec spec, Path file) {
    byte[] text = text(spec).getBytes(StandardCharsets.UTF_8);
    AtomicFile.write(file, out -> AtomicFile.writeFully(out, ByteBuffer.wrap(text)));
  }

  /** {@return the file's text} */
  static String text(CommandSpec spec) {
    StringWriter text = new StringWriter();
    text.write("# " + spec.qualifiedName() + ", Sfumato " + Version.current() + "\n");
    YAMLFactory factory =
        YAMLFactory.builder()
            .disable(YAMLGenerator.Feature.WRITE_DOC_START_MARKER)
            .disable(YAMLGenerator.Feature.SPLIT_LINES)
            .enable(YAMLGenerator.Feature.MINIMIZE_QUOTES)
            .enable(YAMLGenerator.Feature.ALWAYS_QUOTE_NUMBERS_AS_STRINGS)
            .build();
    try (JsonGenerator yaml = factory.createGenerator(text)) {
      yaml.writeStartObject();
      for (Map.Entry<String, ArgSpec> e : new ConfigNames(spec).arguments().entrySet()) {
        Object value = e.getValue().getValue();
        if (!LEFT_OUT.contains(e.getKey()) && !isAbsent(value)) {
          yaml.writeFieldName(e.getKey());
          write(yaml, value);
        }
      }
      yaml.writeEndObject();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return text.toString();
  }

  private static boolean isAbsent(@Nullable Object value) {
    return value == null
        || (value instanceof Collection<?> c && c.isEmpty())
        || (value instanceof Object[] array && array.length == 0);
  }

  private static void write(JsonGenerator yaml, @Nullable Object value) throws IOException {
    switch (value) {
      case null -> yaml.writeNull();
      case Boolean b -> yaml.writeBoolean(b);
      case Integer i -> yaml.writeNumber(i);
      case Long l -> yaml.writeNumber(l);
      case Double d -> yaml.writeNumber(d);
      case Float f -> yaml.writeNumber(f);
      case Enum<?> e -> yaml.writeString(e.name());
      case Settings settings -> {
        yaml.writeStartObject();
        for (Map.Entry<String, String> part : settings.entries().entrySet()) {
          yaml.writeStringField(part.getKey(), part.getValue());
        }
        yaml.writeEndObject();
      }
      case Collection<?> all -> {
        yaml.writeStartArray();
        for (Object one : all) {
          write(yaml, one);
        }
        yaml.writeEndArray();
      }
      case Object[] array -> write(yaml, Arrays.asList(array));
      default -> yaml.writeString(value.toString());
    }
  }
}
