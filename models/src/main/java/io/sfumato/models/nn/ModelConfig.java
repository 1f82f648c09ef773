// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.sfumato.tensor.io.AtomicFile;
import io.sfumato.tensor.io.TensorFileException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Configuration files as diffusers writes them: JSON with sorted keys, indented by two, numbers as
 * Python prints them, and the bare words Infinity, -Infinity and NaN, which are not legal JSON.
 */
public final class ModelConfig {
  private static final System.Logger LOG = System.getLogger("io.sfumato.models");
  private static final long MAX_BYTES = 64L << 20;
  private static final JsonMapper JSON =
      JsonMapper.builder().enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS).build();

  /** How weights are coded: what reads them looks at it, not the model's configuration. */
  public static final String QUANTIZATION = "quantization_config";

  /** The version of diffusers whose formats are written. */
  public static final String DIFFUSERS_VERSION = "0.40.0.dev0";

  private ModelConfig() {}

  /**
   * Reads a configuration.
   *
   * @param file a JSON object
   * @param className the class it must be for, if it says so
   * @throws IllegalArgumentException if it is unreadable or of another class
   */
  public static JsonNode read(Path file, String className) {
    JsonNode json = read(file);
    JsonNode name = json.get("_class_name");
    if (name != null && !name.asText().equals(className)) {
      throw new IllegalArgumentException(
          file + ": is the configuration of a " + name.asText() + ", not of a " + className);
    }
    return json;
  }

  /**
   * Reads a JSON object.
   *
   * @throws IllegalArgumentException if it is unreadable
   */
  public static JsonNode read(Path file) {
    try {
      if (Files.size(file) > MAX_BYTES) {
        throw new IllegalArgumentException(file + ": larger than " + MAX_BYTES + " bytes");
      }
      JsonNode json = JSON.readTree(Files.readAllBytes(file));
      if (!json.isObject()) {
        throw new IllegalArgumentException(file + ": must hold a JSON object");
      }
      return json;
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(file + ": not valid JSON: " + e.getOriginalMessage(), e);
    } catch (IOException e) {
      throw new IllegalArgumentException(
          file + ": cannot be read: " + e.getClass().getSimpleName() + " " + e.getMessage(), e);
    }
  }

  /** A sorted map with the class name and the version of the format. */
  public static TreeMap<String, @Nullable Object> start(String className) {
    TreeMap<String, @Nullable Object> map = new TreeMap<>();
    map.put("_class_name", className);
    map.put("_diffusers_version", DIFFUSERS_VERSION);
    return map;
  }

  /** A whole number as Integer, so that it prints without a fraction; else the Double. */
  public static Object wholeIfPossible(double value) {
    if (value == Math.rint(value) && Math.abs(value) < 1e9) {
      return (int) value;
    }
    return value;
  }

  /**
   * Writes a map, atomically, in the reference's form. The file's folder is made if it is missing.
   */
  public static void write(Path file, Map<String, ?> map) {
    Path folder = file.toAbsolutePath().getParent();
    try {
      Files.createDirectories(Objects.requireNonNull(folder, "a root has no parent"));
    } catch (IOException e) {
      throw new TensorFileException(file, "its folder cannot be made: " + e, e);
    }
    StringBuilder text = new StringBuilder();
    print(text, new TreeMap<String, Object>(map), "");
    byte[] bytes = text.append('\n').toString().getBytes(StandardCharsets.UTF_8);
    AtomicFile.write(file, out -> AtomicFile.writeFully(out, ByteBuffer.wrap(bytes)));
  }

  private static void print(StringBuilder text, @Nullable Object value, String indent) {
    String inner = indent + "  ";
    switch (value) {
      case null -> text.append("null");
      case Map<?, ?> map when map.isEmpty() -> text.append("{}");
      case Map<?, ?> map -> {
        String separator = "{\n";
        for (Map.Entry<?, ?> e : map.entrySet()) {
          text.append(separator).append(inner);
          quote(text, String.valueOf(e.getKey()));
          text.append(": ");
          print(text, e.getValue(), inner);
          separator = ",\n";
        }
        text.append('\n').append(indent).append('}');
      }
      case List<?> list when list.isEmpty() -> text.append("[]");
      case List<?> list -> {
        String separator = "[\n";
        for (Object o : list) {
          text.append(separator).append(inner);
          print(text, o, inner);
          separator = ",\n";
        }
        text.append('\n').append(indent).append(']');
      }
      case Double d -> text.append(pythonFloat(d));
      case String s -> quote(text, s);
      default -> text.append(value);
    }
  }

  private static void quote(StringBuilder text, String s) {
    try {
      text.append(JSON.writeValueAsString(s));
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(e);
    }
  }

  /** A double as Python's repr prints it: 1e-05, 0.0001, 1.0, -Infinity. */
  static String pythonFloat(double d) {
    if (Double.isNaN(d) || Double.isInfinite(d)) {
      return Double.toString(d);
    }
    double a = Math.abs(d);
    if (a != 0 && (a < 1e-4 || a >= 1e16)) {
      String s = Double.toString(d); // d.dddE-x
      int e = s.indexOf('E');
      String digits = s.substring(0, e).replaceFirst("\\.0$", "");
      int exponent = Integer.parseInt(s.substring(e + 1));
      return digits + (exponent < 0 ? "e-" : "e+") + String.format("%02d", Math.abs(exponent));
    }
    String plain =
        new java.math.BigDecimal(Double.toString(d)).stripTrailingZeros().toPlainString();
    return plain.contains(".") ? plain : plain + ".0";
  }

  /** Reads typed keys, collecting everything wrong. */
  public static final class Reader {
    private final JsonNode json;
    private final String where;
    private final Set<String> used = new HashSet<>();
    private final List<String> wrong = new ArrayList<>();

    /** A reader of {@code json}, named {@code where} in messages. */
    public Reader(JsonNode json, String where) {
      this.json = json;
      this.where = where;
    }

    private @Nullable JsonNode node(String key) {
      used.add(key);
      JsonNode node = json.get(key);
      return node == null || node.isNull() ? null : node;
    }

    private void wrong(String key, String expected, JsonNode came) {
      wrong.add(key + " must be " + expected + "; got " + came);
    }

    /** An integer; the default if the key is missing or null. */
    public int integer(String key, int byDefault) {
      JsonNode node = node(key);
      if (node == null) {
        return byDefault;
      }
      if (!node.isNumber() || node.doubleValue() != node.intValue()) {
        wrong(key, "an integer", node);
        return byDefault;
      }
      return node.intValue();
    }

    /** An integer or null; the default if the key is missing. */
    public @Nullable Integer integerOrNull(String key, @Nullable Integer byDefault) {
      used.add(key);
      if (!json.has(key)) {
        return byDefault;
      }
      return json.get(key).isNull() ? null : Integer.valueOf(integer(key, 1));
    }

    /** A number; the default if the key is missing or null. */
    public double number(String key, double byDefault) {
      JsonNode node = node(key);
      if (node == null) {
        return byDefault;
      }
      if (!node.isNumber()) {
        wrong(key, "a number", node);
        return byDefault;
      }
      return node.doubleValue();
    }

    /** A number or null; the default if the key is missing. */
    public @Nullable Double numberOrNull(String key, @Nullable Double byDefault) {
      used.add(key);
      if (!json.has(key)) {
        return byDefault;
      }
      return json.get(key).isNull() ? null : Double.valueOf(number(key, 0));
    }

    /** A truth value; the default if the key is missing or null. */
    public boolean bool(String key, boolean byDefault) {
      JsonNode node = node(key);
      if (node == null) {
        return byDefault;
      }
      if (!node.isBoolean()) {
        wrong(key, "true or false", node);
        return byDefault;
      }
      return node.booleanValue();
    }

    /** A value for all levels or one for each, of integers; the default if the key is missing. */
    public OneOrEach<Integer> integerOrEach(String key, OneOrEach<Integer> byDefault) {
      return oneOrEach(
          key, byDefault, "an integer or a list of them", n -> n.isInt() ? n.intValue() : null);
    }

    /** A value for all levels or one for each, of truth values. */
    public OneOrEach<Boolean> boolOrEach(String key, OneOrEach<Boolean> byDefault) {
      return oneOrEach(
          key,
          byDefault,
          "true, false or a list of them",
          n -> n.isBoolean() ? n.booleanValue() : null);
    }

    /**
     * A value for all levels or one for each, where each may again be one or one for each layer.
     */
    public OneOrEach<OneOrEach<Integer>> integerOrEachOfEach(
        String key, OneOrEach<OneOrEach<Integer>> byDefault) {
      return oneOrEach(
          key,
          byDefault,
          "an integer or a list of integers and lists of integers",
          n -> elements(n, e -> e.isInt() ? e.intValue() : null));
    }

    private <T> OneOrEach<T> oneOrEach(
        String key,
        OneOrEach<T> byDefault,
        String expected,
        Function<JsonNode, @Nullable T> element) {
      used.add(key);
      JsonNode node = json.get(key);
      if (node == null) {
        return byDefault;
      }
      OneOrEach<T> result = elements(node, element);
      if (result == null) {
        wrong(key, expected, node);
        return byDefault;
      }
      return result;
    }

    private static <T> @Nullable OneOrEach<T> elements(
        JsonNode node, Function<JsonNode, @Nullable T> element) {
      T single = element.apply(node);
      if (single != null && !node.isArray()) {
        return OneOrEach.one(single);
      }
      List<T> each = new ArrayList<>();
      for (JsonNode n : node) {
        T value = element.apply(n);
        if (value == null) {
          return null;
        }
        each.add(value);
      }
      return node.isArray() && !each.isEmpty() ? OneOrEach.each(each) : null;
    }

    /** Whether a key has a value that is not null. */
    public boolean has(String key) {
      return node(key) != null;
    }

    /** Adds to what {@link #finish} reports. */
    public void problem(String message) {
      wrong.add(message);
    }

    /** A string; the default if the key is missing or null. */
    public String text(String key, String byDefault) {
      JsonNode node = node(key);
      if (node == null) {
        return byDefault;
      }
      if (!node.isTextual()) {
        wrong(key, "a string", node);
        return byDefault;
      }
      return node.textValue();
    }

    /** A string or null; the default if the key is missing. */
    public @Nullable String textOrNull(String key, @Nullable String byDefault) {
      used.add(key);
      if (!json.has(key)) {
        return byDefault;
      }
      return json.get(key).isNull() ? null : text(key, "");
    }

    /** A list of strings; the default if the key is missing or null. */
    public List<String> texts(String key, List<String> byDefault) {
      JsonNode node = node(key);
      if (node == null) {
        return byDefault;
      }
      List<String> values = new ArrayList<>();
      for (JsonNode n : node) {
        if (n.isTextual()) {
          values.add(n.textValue());
        }
      }
      if (!node.isArray() || values.size() != node.size()) {
        wrong(key, "a list of strings", node);
        return byDefault;
      }
      return values;
    }

    /** A list of integers; the default if the key is missing or null. */
    public List<Integer> integers(String key, List<Integer> byDefault) {
      JsonNode node = node(key);
      if (node == null) {
        return byDefault;
      }
      List<Integer> values = new ArrayList<>();
      for (JsonNode n : node) {
        if (n.isInt()) {
          values.add(n.intValue());
        }
      }
      if (!node.isArray() || values.size() != node.size()) {
        wrong(key, "a list of integers", node);
        return byDefault;
      }
      return values;
    }

    /** A list of numbers or null; the default if the key is missing. */
    public @Nullable List<Double> numbersOrNull(String key, @Nullable List<Double> byDefault) {
      used.add(key);
      if (!json.has(key)) {
        return byDefault;
      }
      JsonNode node = json.get(key);
      if (node.isNull()) {
        return null;
      }
      List<Double> values = new ArrayList<>();
      for (JsonNode n : node) {
        if (n.isNumber()) {
          values.add(n.doubleValue());
        }
      }
      if (!node.isArray() || values.size() != node.size()) {
        wrong(key, "a list of numbers or null", node);
        return byDefault;
      }
      return values;
    }

    /**
     * Builds a configuration from the keys, and demands that each be known, but for those that
     * start with an underscore, which are the writer's own.
     *
     * @param configuration reads the keys and checks their values together
     * @throws IllegalArgumentException listing everything wrong: values of another type, what the
     *     configuration refuses, and unknown keys
     */
    public <T> T build(Supplier<T> configuration) {
      T built = null;
      String refusal = null;
      try {
        built = configuration.get();
      } catch (IllegalArgumentException e) {
        refusal = e.getMessage();
      }
      if (refusal != null) {
        wrong.add(refusal);
      }
      List<String> unknown = unread();
      if (!unknown.isEmpty()) {
        wrong.add("unknown keys " + unknown + "; those known are " + new TreeSet<>(used));
      }
      if (built == null || !wrong.isEmpty()) {
        throw new IllegalArgumentException(where + ": " + String.join("; ", wrong));
      }
      return built;
    }

    private List<String> unread() {
      List<String> names = new ArrayList<>();
      for (Iterator<String> all = json.fieldNames(); all.hasNext(); ) {
        String name = all.next();
        if (!used.contains(name) && !name.startsWith("_") && !name.equals(QUANTIZATION)) {
          names.add(name);
        }
      }
      return names;
    }

    /**
     * Reports what was wrong, and logs keys that nobody read; those that start with an underscore
     * are the writer's own.
     *
     * @throws IllegalArgumentException listing everything wrong
     */
    public void finish() {
      if (!wrong.isEmpty()) {
        throw new IllegalArgumentException(where + ": " + String.join("; ", wrong));
      }
      List<String> ignored = unread();
      if (!ignored.isEmpty()) {
        LOG.log(
            System.Logger.Level.WARNING,
            "{0}: keys not known here are ignored: {1}",
            where,
            ignored);
      }
    }
  }
}
