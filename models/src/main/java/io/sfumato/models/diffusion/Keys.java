// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** The keys that a scheduler class has in its configuration, each with its kind and default. */
final class Keys {
  private static final String[] BETA_SCHEDULES = {
    "linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "exp", "laplace"
  };

  /** What a value must be. */
  enum Kind {
    INTEGER("an integer"),
    NUMBER("a number"),
    FLAG("true or false"),
    TEXT("a string"),
    NUMBERS("a list of numbers"),
    INTEGERS("a list of integers"),
    OBJECT("an object");

    final String words;

    Kind(String words) {
      this.words = words;
    }

    boolean accepts(Object value) {
      return switch (this) {
        case INTEGER -> value instanceof Number n && n.doubleValue() == n.intValue();
        case NUMBER -> value instanceof Number;
        case FLAG -> value instanceof Boolean;
        case TEXT -> value instanceof String;
        case NUMBERS -> value instanceof List<?> l && l.stream().allMatch(NUMBER::accepts);
        case INTEGERS -> value instanceof List<?> l && l.stream().allMatch(INTEGER::accepts);
        case OBJECT -> value instanceof Map<?, ?>;
      };
    }
  }

  /**
   * One key.
   *
   * @param kind what its value must be; null is always taken as the default
   * @param byDefault the value of a missing key
   * @param choices what a text may be; empty for anything
   */
  record Key(Kind kind, @Nullable Object byDefault, List<String> choices) {}

  private final Map<String, Key> keys = new LinkedHashMap<>();

  private Keys() {}

  static Keys none() {
    return new Keys();
  }

  Map<String, Key> all() {
    return keys;
  }

  private Keys put(String name, Kind kind, @Nullable Object byDefault, String... choices) {
    keys.put(name, new Key(kind, byDefault, List.of(choices)));
    return this;
  }

  Keys integer(String name, int byDefault) {
    return put(name, Kind.INTEGER, byDefault);
  }

  Keys number(String name, double byDefault) {
    return put(name, Kind.NUMBER, byDefault);
  }

  Keys optionalNumber(String name) {
    return put(name, Kind.NUMBER, null);
  }

  Keys flag(String name, boolean byDefault) {
    return put(name, Kind.FLAG, byDefault);
  }

  Keys text(String name, String byDefault, String... choices) {
    return put(name, Kind.TEXT, byDefault, choices);
  }

  Keys optionalText(String name, String... choices) {
    return put(name, Kind.TEXT, null, choices);
  }

  Keys integers(String name) {
    return put(name, Kind.INTEGERS, List.of());
  }

  Keys optionalObject(String name) {
    return put(name, Kind.OBJECT, null);
  }

  /** T and the β schedule. */
  Keys betas(double start, double end, String schedule) {
    return integer("num_train_timesteps", 1000)
        .number("beta_start", start)
        .number("beta_end", end)
        .text("beta_schedule", schedule, BETA_SCHEDULES)
        .put("trained_betas", Kind.NUMBERS, null);
  }

  /** What the network may predict; ε if nothing is said. */
  Keys prediction(String... choices) {
    return text("prediction_type", "epsilon", choices);
  }

  /** How timesteps are spaced. */
  Keys spacing(String byDefault) {
    return text("timestep_spacing", byDefault, "leading", "trailing", "linspace")
        .integer("steps_offset", 0);
  }

  /** Limits of x₀ by its own quantile. */
  Keys thresholding() {
    return flag("thresholding", false)
        .number("dynamic_thresholding_ratio", 0.995)
        .number("sample_max_value", 1);
  }

  /** Limits of x₀ to a fixed range. */
  Keys clip(boolean byDefault) {
    return flag("clip_sample", byDefault).number("clip_sample_range", 1);
  }

  /** Other spacings of σ, of which at most one may be on. */
  Keys respacing() {
    return flag("use_karras_sigmas", false)
        .flag("use_exponential_sigmas", false)
        .flag("use_beta_sigmas", false);
  }
}
