// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.optim;

/** Conditions on options. */
final class Checks {
  private Checks() {}

  static void notNegative(String name, double value) {
    if (!(value >= 0) || Double.isInfinite(value)) {
      throw new IllegalArgumentException(name + " must be finite and not negative; got " + value);
    }
  }

  static void fraction(String name, double value) {
    if (!(value >= 0 && value < 1)) {
      throw new IllegalArgumentException(name + " must be in [0, 1); got " + value);
    }
  }
}
