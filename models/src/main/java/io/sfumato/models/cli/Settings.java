// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.TypeConversionException;

/**
 * The value of an option that has several named parts: {@code match=**.to_q,kind=lora,rank=8} on
 * the command line, a mapping in a configuration file. A comma inside a value is written {@code
 * \,}.
 *
 * @param entries the parts by name, in the order in which they came
 */
public record Settings(Map<String, String> entries) {
  /** Copies the map. */
  public Settings {
    entries = Collections.unmodifiableMap(new LinkedHashMap<>(entries));
  }

  /**
   * Reads the command line's form.
   *
   * @param text parts separated by commas
   * @param known the names that there are; {@code match} in {@code match=down_blocks.**}
   * @throws TypeConversionException listing every part that is no {@code name=value}, that comes
   *     twice, or whose name is not known
   */
  public static Settings parse(String text, Set<String> known) {
    Map<String, String> entries = new LinkedHashMap<>();
    List<String> wrong = new ArrayList<>();
    for (String part : text.split("(?<!\\\\),", -1)) {
      int at = part.indexOf('=');
      if (at <= 0) {
        wrong.add("\"" + part + "\" is no name=value");
        continue;
      }
      String name = part.substring(0, at).strip();
      if (!known.contains(name)) {
        wrong.add("unknown " + name + Nearest.hint(name, known));
      } else if (entries.put(name, part.substring(at + 1).strip().replace("\\,", ",")) != null) {
        wrong.add(name + " twice");
      }
    }
    if (!wrong.isEmpty()) {
      throw new TypeConversionException(String.join("; ", wrong) + ", in " + text);
    }
    return new Settings(entries);
  }

  /**
   * A part that is a list, {@code a|b} on the command line.
   *
   * @param name of the part
   * @return its items; empty if it is absent
   */
  public List<String> list(String name) {
    String text = entries.get(name);
    return text == null ? List.of() : List.of(text.split("\\|"));
  }

  /**
   * A part that is a number.
   *
   * @param name of the part
   * @return its value; null if it is absent
   * @throws TypeConversionException if it is no number
   */
  public @Nullable Double real(String name) {
    String text = entries.get(name);
    try {
      return text == null ? null : (Double) Double.parseDouble(text);
    } catch (NumberFormatException e) {
      throw new TypeConversionException(name + " must be a number; got " + text);
    }
  }

  /**
   * A part that is a whole number.
   *
   * @param name of the part
   * @param absent its value if it is absent
   * @throws TypeConversionException if it is no whole number
   */
  public int whole(String name, int absent) {
    String text = entries.get(name);
    try {
      return text == null ? absent : Integer.parseInt(text);
    } catch (NumberFormatException e) {
      throw new TypeConversionException(name + " must be a whole number; got " + text);
    }
  }

  /** {@return the command line's form, which {@link #parse} reads} */
  @Override
  public String toString() {
    StringBuilder text = new StringBuilder();
    entries.forEach(
        (name, value) ->
            text.append(text.isEmpty() ? "" : ",")
                .append(name)
                .append('=')
                .append(value.replace(",", "\\,")));
    return text.toString();
  }
}
