// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/** Collects what is wrong with the values of a configuration, so that all of it is said at once. */
public final class ConfigCheck {
  private final String what;
  private final Set<String> wrong = new LinkedHashSet<>();

  /**
   * Nothing is wrong yet.
   *
   * @param what the configuration, for the message
   */
  public ConfigCheck(String what) {
    this.what = what;
  }

  /** Notes something. */
  public void add(String message) {
    wrong.add(message);
  }

  /** Notes {@code message} unless {@code ok}. */
  public void require(boolean ok, String message) {
    if (!ok) {
      wrong.add(message);
    }
  }

  /** Requires a value above zero. */
  public void positive(String key, int value) {
    require(value > 0, key + " must be positive; got " + value);
  }

  /** Requires one of some words. */
  public void oneOf(String key, String value, String... known) {
    require(
        List.of(known).contains(value),
        key + " must be one of " + String.join(", ", known) + "; got '" + value + "'");
  }

  /**
   * Ends the check.
   *
   * @throws IllegalArgumentException with everything that is wrong, if anything is
   */
  public void done() {
    if (!wrong.isEmpty()) {
      throw new IllegalArgumentException(what + ": " + String.join("; ", wrong));
    }
  }
}
