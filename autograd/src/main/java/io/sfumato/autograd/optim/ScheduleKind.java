// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.optim;

import java.util.Arrays;
import java.util.Locale;
import java.util.stream.Collectors;

/**
 * Schedules by the names that diffusers and transformers give them ({@code get_scheduler}), with
 * their formulas: over {@code steps} steps in all, of which the first {@code warmUp} rise linearly
 * from 0.
 */
public enum ScheduleKind {
  /** Always 1. It has no warm-up. */
  CONSTANT,
  /** 1 after the warm-up. */
  CONSTANT_WITH_WARMUP,
  /** From 1 after the warm-up to 0. */
  LINEAR,
  /** Half a cosine from 1 to 0. */
  COSINE,
  /** Half a cosine from 1 to 0 again and again. */
  COSINE_WITH_RESTARTS,
  /** {@code (1 - x)^power}, down to a rate of 1e-7. */
  POLYNOMIAL;

  /** The learning rate at which {@link #POLYNOMIAL} ends, as in transformers. */
  public static final double POLYNOMIAL_END = 1e-7;

  /**
   * What a kind needs to become a {@link Schedule}.
   *
   * @param warmUp steps of linear warm-up, not negative
   * @param cycles half cosines of {@link #COSINE_WITH_RESTARTS}, positive
   * @param power of {@link #POLYNOMIAL}, positive
   */
  public record Shape(long warmUp, int cycles, double power) {
    /** No warm-up, one cycle, a straight line. */
    public static final Shape DEFAULT = new Shape(0, 1, 1);

    /** Checks the numbers together. */
    public Shape {
      if (warmUp < 0 || cycles < 1 || !(power > 0)) {
        throw new IllegalArgumentException(
            "a schedule needs a warm-up of 0 at least, cycles of 1 at least and a positive power;"
                + " got "
                + warmUp
                + ", "
                + cycles
                + ", "
                + power);
      }
    }
  }

  /** The name in configurations: {@code cosine_with_restarts}. */
  public String label() {
    return name().toLowerCase(Locale.ROOT);
  }

  /**
   * The kind of this name.
   *
   * @throws IllegalArgumentException with all names, if there is none
   */
  public static ScheduleKind parse(String label) {
    for (ScheduleKind kind : values()) {
      if (kind.label().equals(label)) {
        return kind;
      }
    }
    throw new IllegalArgumentException(
        "there is no schedule "
            + label
            + "; there are "
            + Arrays.stream(values()).map(ScheduleKind::label).collect(Collectors.joining(", ")));
  }

  /**
   * The factor on the learning rate.
   *
   * @param steps steps of the whole run, more than those of the warm-up
   * @param shape warm-up, cycles and power
   * @param learningRate the highest rate; only {@link #POLYNOMIAL} depends on it
   * @throws IllegalArgumentException if the warm-up does not fit
   */
  public Schedule over(long steps, Shape shape, double learningRate) {
    long warmUp = shape.warmUp();
    if (this == CONSTANT && warmUp > 0) {
      throw new IllegalArgumentException(
          "constant has no warm-up; constant_with_warmup has, got " + warmUp + " steps of it");
    }
    if (warmUp >= steps && this != CONSTANT && this != CONSTANT_WITH_WARMUP) {
      throw new IllegalArgumentException(
          "a warm-up of " + warmUp + " steps leaves none of " + steps);
    }
    long rest = steps - warmUp;
    Schedule after =
        switch (this) {
          case CONSTANT, CONSTANT_WITH_WARMUP -> Schedule.constant();
          case LINEAR -> Schedule.linear(rest);
          case COSINE -> Schedule.cosine(rest);
          case COSINE_WITH_RESTARTS -> Schedule.cosineWithRestarts(rest, shape.cycles());
          case POLYNOMIAL ->
              Schedule.polynomial(
                  rest, shape.power(), Math.min(1, POLYNOMIAL_END / Math.max(learningRate, 1e-30)));
        };
    return warmUp == 0 ? after : after.withWarmup(warmUp);
  }
}
