// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.diffusion;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Which steps a sampler takes.
 *
 * @param count the number of steps N of the whole way
 * @param strength the part of the way that is gone, from its noisy end if 1. For an image-to-image
 *     start, ⌊N · strength⌋ steps remain
 * @param shift μ of a schedule that is shifted by resolution ({@code use_dynamic_shifting}), or
 *     null
 * @param sigmas noise levels of one's own, without the final one; null for the sampler's
 */
public record Steps(
    int count, double strength, @Nullable Double shift, @Nullable List<Double> sigmas) {
  /** Checks the values together; the message lists everything wrong. */
  public Steps {
    List<String> wrong = new ArrayList<>();
    if (count < 1) {
      wrong.add("there must be at least one; got " + count);
    }
    if (!(strength > 0 && strength <= 1)) {
      wrong.add("strength must be in (0, 1]; got " + strength);
    }
    if (sigmas != null) {
      sigmas = List.copyOf(sigmas);
      if (sigmas.size() != count) {
        wrong.add("sigmas must number " + count + "; got " + sigmas.size());
      }
      for (int i = 1; i < sigmas.size(); i++) {
        if (!(sigmas.get(i) < sigmas.get(i - 1))) {
          wrong.add("sigmas must fall; got " + sigmas);
          break;
        }
      }
    }
    if (!wrong.isEmpty()) {
      throw new IllegalArgumentException("sampling steps: " + String.join("; ", wrong));
    }
  }

  /** N steps, all the way. */
  public static Steps of(int count) {
    return new Steps(count, 1, null, null);
  }

  /** Steps through noise levels of one's own, falling, without the final one. */
  public static Steps through(double... sigmas) {
    return new Steps(sigmas.length, 1, null, java.util.Arrays.stream(sigmas).boxed().toList());
  }

  /** The last part of the way, for an image-to-image start. */
  public Steps strength(double value) {
    return new Steps(count, value, shift, sigmas);
  }

  /** With μ for schedules that are shifted by resolution. */
  public Steps shift(double mu) {
    return new Steps(count, strength, mu, sigmas);
  }

  /** The first step that is gone, as image-to-image pipelines of ε and v networks count. */
  int first() {
    int first = Math.max(count - Math.min((int) (count * strength), count), 0);
    if (first == count) {
      throw new IllegalArgumentException(
          "no steps remain: strength " + strength + " of " + count + " steps is less than one");
    }
    return first;
  }

  /** The same as pipelines of flows count, which round the other way. */
  int firstOfFlow() {
    return (int) Math.max(count - Math.min(count * strength, count), 0);
  }

  /** Refuses what a sampler does not use. */
  void without(String sampler, boolean takesShift, boolean takesSigmas) {
    if (shift != null && !takesShift) {
      throw new IllegalArgumentException(
          sampler + " takes no shift: its configuration has no use_dynamic_shifting, or it is off");
    }
    if (sigmas != null && !takesSigmas) {
      throw new IllegalArgumentException(sampler + " takes no noise levels of one's own");
    }
  }
}
