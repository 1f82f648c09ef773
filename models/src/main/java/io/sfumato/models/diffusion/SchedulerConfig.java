// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import com.fasterxml.jackson.databind.JsonNode;
import io.sfumato.models.nn.ModelConfig;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * The configuration of one of diffusers' schedulers ({@code scheduler_config.json}): a class name
 * and the values of that class's keys. {@link Samplers} knows the classes; {@code docs/samplers.md}
 * lists their keys. What is read is written back unchanged, byte for byte.
 *
 * @param className the scheduler's class, such as {@code DDIMScheduler}
 * @param values all keys: those of the class, and others that were read and are only kept
 */
public record SchedulerConfig(String className, Map<String, @Nullable Object> values) {
  private static final System.Logger LOG = System.getLogger("io.sfumato.models");
  private static final String VERSION = "_diffusers_version";

  /** Fills in defaults and checks all values together; the message lists everything wrong. */
  public SchedulerConfig {
    Samplers table = Samplers.of(className);
    TreeMap<String, @Nullable Object> all = new TreeMap<>(values);
    all.putIfAbsent(VERSION, ModelConfig.DIFFUSERS_VERSION);
    List<String> wrong = new ArrayList<>();
    table
        .keys()
        .forEach(
            (name, key) -> {
              Object value = all.get(name);
              if (!all.containsKey(name)) {
                all.put(name, key.byDefault());
              } else if (value != null && !key.kind().accepts(value)) {
                wrong.add(name + " must be " + key.kind().words + "; got " + value);
              } else if (value instanceof String s
                  && !key.choices().isEmpty()
                  && !key.choices().contains(s)) {
                wrong.add(name + " must be of " + key.choices() + "; got '" + s + "'");
              }
            });
    values = Collections.unmodifiableMap(all);
    if (wrong.isEmpty()) {
      // The rules may now take the types for granted.
      Reading reading = new Reading(table, values);
      SchedulerRules.check(reading, wrong);
      table.check(reading, wrong);
    } else {
      SchedulerRules.count(values, wrong);
    }
    if (!wrong.isEmpty()) {
      throw new IllegalArgumentException(className + " config: " + String.join("; ", wrong));
    }
  }

  /** Typed access to values, with defaults where a key is null. */
  record Reading(Samplers table, Map<String, @Nullable Object> values) {
    boolean has(String key) {
      return table.keys().containsKey(key);
    }

    @Nullable Object value(String key) {
      Keys.Key known = table.keys().get(key);
      if (known == null) {
        throw new IllegalArgumentException(table.className() + " has no key " + key);
      }
      Object value = values.get(key);
      return value == null ? known.byDefault() : value;
    }

    private Object needed(String key) {
      Object value = value(key);
      if (value == null) {
        throw new IllegalStateException(table.className() + "." + key + " is null");
      }
      return value;
    }

    int integer(String key) {
      return ((Number) needed(key)).intValue();
    }

    double number(String key) {
      return ((Number) needed(key)).doubleValue();
    }

    @Nullable Double optionalNumber(String key) {
      return has(key) && value(key) instanceof Number n ? n.doubleValue() : null;
    }

    /** False also for a class without the key. */
    boolean flag(String key) {
      return has(key) && (Boolean) needed(key);
    }

    String text(String key) {
      return (String) needed(key);
    }

    boolean is(String key, String value) {
      return has(key) && value.equals(value(key));
    }

    Prediction prediction() {
      if (!has("prediction_type")) {
        return Prediction.FLOW;
      }
      String name = text("prediction_type");
      return name.equals("original_sample") ? Prediction.SAMPLE : Prediction.parse(name);
    }

    @Nullable List<?> list(String key) {
      return (List<?>) value(key);
    }
  }

  private Reading reading() {
    return new Reading(Samplers.of(className), values);
  }

  /** The defaults of a class. */
  public static SchedulerConfig of(String className) {
    return new SchedulerConfig(className, Map.of());
  }

  /** The defaults of DDPMScheduler. */
  public static SchedulerConfig ddpm() {
    return of("DDPMScheduler");
  }

  /** This configuration with another value of one key. */
  public SchedulerConfig with(String key, @Nullable Object value) {
    if (!has(key)) {
      throw new IllegalArgumentException(className + " has no key " + key);
    }
    TreeMap<String, @Nullable Object> changed = new TreeMap<>(values);
    changed.put(key, value);
    return new SchedulerConfig(className, changed);
  }

  /** This configuration for another prediction. */
  public SchedulerConfig with(Prediction other) {
    return with("prediction_type", other.configName());
  }

  /** This configuration with another β schedule. */
  public SchedulerConfig withBetas(String schedule) {
    return with("beta_schedule", schedule);
  }

  /** This configuration with another spacing of the timesteps. */
  public SchedulerConfig withSpacing(String spacing) {
    return with("timestep_spacing", spacing);
  }

  /**
   * The configuration of another class for the same network: keys that both classes have keep their
   * values, all others take the defaults of the new class.
   */
  public SchedulerConfig as(String otherClass) {
    TreeMap<String, @Nullable Object> shared = new TreeMap<>(values);
    shared.keySet().retainAll(Samplers.of(otherClass).keys().keySet());
    return new SchedulerConfig(otherClass, shared);
  }

  /** Whether the class has a key. */
  public boolean has(String key) {
    return reading().has(key);
  }

  /** An integer key; its default if it is null. */
  public int integer(String key) {
    return reading().integer(key);
  }

  /** A number; its default if it is null. */
  public double number(String key) {
    return reading().number(key);
  }

  /** A number, or null if it is null or the class lacks the key. */
  public @Nullable Double optionalNumber(String key) {
    return reading().optionalNumber(key);
  }

  /** A truth value; false if the class lacks the key. */
  public boolean flag(String key) {
    return reading().flag(key);
  }

  /** A text; its default if it is null. */
  public String text(String key) {
    return reading().text(key);
  }

  /** Whether the class has a text key with this value. */
  public boolean is(String key, String value) {
    return reading().is(key, value);
  }

  /** Whether a key has a value that is not null. */
  public boolean isSet(String key) {
    return values.get(key) != null;
  }

  /** A list, or null. */
  public @Nullable List<?> list(String key) {
    return reading().list(key);
  }

  /** What the network predicts; a class without the key is one of rectified flows. */
  public Prediction prediction() {
    return reading().prediction();
  }

  /** T. */
  public int trainTimesteps() {
    return integer("num_train_timesteps");
  }

  /**
   * Reads {@code scheduler_config.json}. Missing keys take the defaults of the class it names.
   *
   * @throws IllegalArgumentException if it is not valid, listing everything wrong
   */
  public static SchedulerConfig read(Path file) {
    return fromJson(ModelConfig.read(file), file.toString());
  }

  /**
   * The configuration of a JSON object; see {@link #read}. Keys that the class does not have are
   * named in one log line, and kept.
   */
  public static SchedulerConfig fromJson(JsonNode json, String where) {
    String className = json.path("_class_name").asText("DDPMScheduler");
    TreeMap<String, @Nullable Object> values = new TreeMap<>();
    List<String> unknown = new ArrayList<>();
    try {
      var known = Samplers.of(className).keys().keySet();
      for (Map.Entry<String, JsonNode> e : json.properties()) {
        if (e.getKey().equals("_class_name")) {
          continue;
        }
        values.put(e.getKey(), plain(e.getValue()));
        if (!known.contains(e.getKey()) && !e.getKey().startsWith("_")) {
          unknown.add(e.getKey());
        }
      }
      SchedulerConfig config = new SchedulerConfig(className, values);
      if (!unknown.isEmpty()) {
        LOG.log(
            System.Logger.Level.WARNING,
            "{0}: {1} has no such keys, they are ignored: {2}",
            where,
            className,
            unknown);
      }
      return config;
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(where + ": " + e.getMessage(), e);
    }
  }

  private static @Nullable Object plain(JsonNode node) {
    return switch (node.getNodeType()) {
      case NUMBER -> node.isInt() ? (Object) node.intValue() : node.numberValue();
      case BOOLEAN -> node.booleanValue();
      case ARRAY -> {
        List<@Nullable Object> items = new ArrayList<>();
        node.forEach(n -> items.add(plain(n)));
        yield Collections.unmodifiableList(items);
      }
      case OBJECT -> {
        Map<String, @Nullable Object> fields = new LinkedHashMap<>();
        node.properties().forEach(e -> fields.put(e.getKey(), plain(e.getValue())));
        yield Collections.unmodifiableMap(fields);
      }
      case STRING -> node.textValue();
      default -> null;
    };
  }

  /** All keys as diffusers writes them. */
  public Map<String, @Nullable Object> toMap() {
    TreeMap<String, @Nullable Object> map = new TreeMap<>(values);
    map.put("_class_name", className);
    return map;
  }
}
