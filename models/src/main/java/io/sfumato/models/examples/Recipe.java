// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import io.sfumato.models.train.GroupRules;
import io.sfumato.models.train.LearningRate;
import io.sfumato.models.train.TrainingRun;
import io.sfumato.models.train.UpdateOptions;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * How a stage of a program learns: what the program has, or what the options say instead.
 *
 * @param update how steps are made
 * @param peak the highest learning rate
 * @param warmUp steps in which the learning rate rises
 * @param schedule what it does then, by name
 * @param rate the learning rate of a run of so many steps, or of one that lasts a time if null
 */
record Recipe(
    UpdateOptions update,
    double peak,
    int warmUp,
    String schedule,
    Function<@Nullable Integer, LearningRate> rate) {
  /**
   * A program's own schedule.
   *
   * @param name what it does after the warm-up
   * @param rising makes it
   */
  record Own(String name, Rising rising) {
    /** Half a cosine down to zero. */
    static final Own COSINE = new Own("half a cosine", LearningRate::cosine);

    /** That of a highest rate and a warm-up. */
    Recipe of(UpdateOptions update, double peak, int warmUp) {
      return new Recipe(update, peak, warmUp, name, steps -> rising.of(peak, warmUp));
    }
  }

  /** The schedule of a highest rate after a warm-up. */
  @FunctionalInterface
  interface Rising {
    /** The rate of each step. */
    LearningRate of(double peak, int warmUp);
  }

  /**
   * The same with equal numbers for all parameters, where options for groups mean another stage.
   */
  Recipe withoutGroups() {
    return update(update.groups(GroupRules.NONE));
  }

  /** The same with other steps. */
  Recipe update(UpdateOptions how) {
    return new Recipe(how, peak, warmUp, schedule, rate);
  }

  /** The learning rate of a run. */
  LearningRate rate(TrainingRun run) {
    return rate.apply(run.options().budget().steps());
  }

  /** The values in words: what must be equal for a run to go on. */
  Map<String, String> settings() {
    Map<String, String> settings = new TreeMap<>(update.settings());
    settings.put("learning_rate", Double.toString(peak));
    settings.put("warm_up", Integer.toString(warmUp));
    settings.put("schedule", schedule);
    return settings;
  }
}
