// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.report;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sfumato.models.data.DatasetException;
import io.sfumato.models.data.LossCsv;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.DoublePredicate;

/**
 * The numbers that a run wrote down, by name and step: {@code metrics.jsonl}, a line for each step
 * and for each validation, or {@code loss.csv} where there is no such file. Damaged lines are left
 * out and counted.
 *
 * @param series values by name
 * @param problems what could not be read, in words
 */
record Metrics(Map<String, Series> series, List<String> problems) {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final int NAMED_LINES = 5;

  /**
   * One number over the steps; values may be NaN or infinite.
   *
   * @param steps ascending
   * @param values one per step
   */
  @SuppressWarnings("ArrayRecordComponent") // compared by nobody
  record Series(double[] steps, double[] values) {
    /** The last value; NaN of nothing. */
    double last() {
      return values.length == 0 ? Double.NaN : values[values.length - 1];
    }

    /** The steps whose value is finite, with it. */
    Series finite() {
      return where(Double::isFinite);
    }

    private Series where(DoublePredicate wanted) {
      double[] x = new double[steps.length];
      double[] y = new double[steps.length];
      int n = 0;
      for (int i = 0; i < steps.length; i++) {
        if (wanted.test(values[i])) {
          x[n] = steps[i];
          y[n++] = values[i];
        }
      }
      return new Series(Arrays.copyOf(x, n), Arrays.copyOf(y, n));
    }

    int size() {
      return steps.length;
    }
  }

  /** The series of a name; empty if there is none. */
  Series of(String name) {
    return series.getOrDefault(name, new Series(new double[0], new double[0]));
  }

  /** Reads what a run's folder has. */
  static Metrics read(Path folder) {
    Path lines = folder.resolve("metrics.jsonl");
    if (Files.isRegularFile(lines)) {
      return readLines(lines);
    }
    List<String> problems = new ArrayList<>();
    Map<String, TreeMap<Double, Double>> values = new LinkedHashMap<>();
    Path csv = folder.resolve("loss.csv");
    if (Files.isRegularFile(csv)) {
      try {
        for (LossCsv.Row row : LossCsv.read(csv)) {
          put(values, "loss", (double) row.step(), row.loss());
          put(values, "learning_rate", (double) row.step(), row.learningRate());
          put(values, "seconds", (double) row.step(), row.seconds());
        }
      } catch (DatasetException | UncheckedIOException e) {
        problems.add("loss.csv is left out: " + e.getMessage());
      }
    }
    return new Metrics(toSeries(values), problems);
  }

  private static Metrics readLines(Path file) {
    List<String> problems = new ArrayList<>();
    List<Integer> damaged = new ArrayList<>();
    Map<String, TreeMap<Double, Double>> values = new LinkedHashMap<>();
    try {
      // Not as a whole text: one wrong byte must not lose the rest.
      String text = new String(Files.readAllBytes(file), StandardCharsets.UTF_8);
      int number = 0;
      for (String line : text.split("\n", -1)) {
        number++;
        if (!line.isBlank() && !addLine(values, line)) {
          damaged.add(number);
        }
      }
    } catch (IOException e) {
      problems.add("metrics.jsonl cannot be read: " + e);
    }
    if (!damaged.isEmpty()) {
      problems.add(
          (damaged.size() == 1
                  ? "a line of metrics.jsonl is"
                  : damaged.size() + " lines of metrics.jsonl are")
              + " damaged and left out: line "
              + String.join(", ", damaged.stream().limit(NAMED_LINES).map(String::valueOf).toList())
              + (damaged.size() > NAMED_LINES ? ", …" : ""));
    }
    return new Metrics(toSeries(values), problems);
  }

  private static boolean addLine(Map<String, TreeMap<Double, Double>> values, String line) {
    JsonNode json;
    try {
      json = JSON.readTree(line);
    } catch (JsonProcessingException e) {
      return false;
    }
    if (json == null || !json.isObject() || !json.path("step").isNumber()) {
      return false;
    }
    double step = json.path("step").doubleValue();
    json.properties()
        .forEach(
            e -> {
              JsonNode v = e.getValue();
              if (v.isNumber()) {
                put(values, e.getKey(), step, v.doubleValue());
              } else if (v.isTextual() && v.textValue().matches("NaN|-?Infinity")) {
                put(values, e.getKey(), step, Double.parseDouble(v.textValue()));
              }
            });
    return true;
  }

  /** A later line of the same step wins, as after a resumed run. */
  private static void put(
      Map<String, TreeMap<Double, Double>> values, String name, double step, double value) {
    values.computeIfAbsent(name, n -> new TreeMap<>()).put(step, value);
  }

  private static Map<String, Series> toSeries(Map<String, TreeMap<Double, Double>> values) {
    Map<String, Series> series = new LinkedHashMap<>();
    values.forEach(
        (name, points) ->
            series.put(
                name,
                new Series(
                    points.keySet().stream().mapToDouble(d -> d).toArray(),
                    points.values().stream().mapToDouble(d -> d).toArray())));
    return series;
  }
}
