// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;

/** Numbers by name, made by src/test/golden/make_golden.py. */
public final class Golden {
  private final Map<String, double[]> records = new HashMap<>();

  /** Reads the resource {@code golden/<file>}. */
  public Golden(String file) {
    InputStream stream =
        Objects.requireNonNull(Golden.class.getResourceAsStream("/golden/" + file), file);
    try (BufferedReader reader =
        new BufferedReader(new InputStreamReader(stream, StandardCharsets.UTF_8))) {
      for (String line = reader.readLine(); line != null; line = reader.readLine()) {
        String[] parts = line.split(" ");
        records.put(
            parts[0], Arrays.stream(parts).skip(1).mapToDouble(Double::parseDouble).toArray());
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** The numbers of a record. */
  public double[] get(String name) {
    return Objects.requireNonNull(records.get(name), name);
  }
}
