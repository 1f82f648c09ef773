// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** What must hold for the configuration of any scheduler that has the keys. */
final class SchedulerRules {
  private SchedulerRules() {}

  /** The one rule that needs no other key to be right. */
  static void count(Map<String, @Nullable Object> values, List<String> wrong) {
    if (values.get("num_train_timesteps") instanceof Number n && n.doubleValue() < 1) {
      wrong.add("num_train_timesteps must be positive; got " + n);
    }
  }

  static void check(SchedulerConfig.Reading c, List<String> wrong) {
    count(c.values(), wrong);
    if (c.has("trained_betas")) {
      betas(c, wrong);
    }
    if (c.flag("thresholding")) {
      range(c, "dynamic_thresholding_ratio", 0, 1, wrong);
      positive(c, "sample_max_value", wrong);
    }
    if (c.flag("clip_sample")) {
      positive(c, "clip_sample_range", wrong);
    }
    if (c.has("steps_offset") && c.integer("steps_offset") < 0) {
      wrong.add("steps_offset must not be negative; got " + c.integer("steps_offset"));
    }
    atMostOne(c, wrong, "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas");
  }

  private static void betas(SchedulerConfig.Reading c, List<String> wrong) {
    List<?> trained = c.list("trained_betas");
    if (trained != null) {
      if (trained.size() != c.integer("num_train_timesteps")) {
        wrong.add(
            "trained_betas must number num_train_timesteps; got "
                + trained.size()
                + " for "
                + c.integer("num_train_timesteps"));
      }
      for (Object b : trained) {
        double beta = ((Number) b).doubleValue();
        if (!(beta >= 0 && beta <= 1)) {
          wrong.add("trained_betas must be in [0, 1]; got " + beta);
          return;
        }
      }
      return;
    }
    range(c, "beta_start", 0, 1, wrong);
    range(c, "beta_end", 0, 1, wrong);
  }

  static void range(
      SchedulerConfig.Reading c, String key, double low, double high, List<String> wrong) {
    double v = c.number(key);
    if (!(v >= low && v <= high)) {
      wrong.add(key + " must be in [" + low + ", " + high + "]; got " + v);
    }
  }

  static void positive(SchedulerConfig.Reading c, String key, List<String> wrong) {
    double v = c.number(key);
    if (!(v > 0 && v < Double.POSITIVE_INFINITY)) {
      wrong.add(key + " must be positive; got " + v);
    }
  }

  static void atMostOne(SchedulerConfig.Reading c, List<String> wrong, String... flags) {
    List<String> on = java.util.Arrays.stream(flags).filter(c::flag).toList();
    if (on.size() > 1) {
      wrong.add("only one of these can be on, for each gives the noise levels: " + on);
    }
  }
}
