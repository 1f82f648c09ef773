// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import org.jspecify.annotations.Nullable;

/** A system property that is {@code on} or {@code off}, or not set. */
public final class Setting {
  private Setting() {}

  /**
   * Whether a value is {@code off}.
   *
   * @param property its name, for the message
   * @param value its value, or null if it is not set
   * @throws IllegalArgumentException if it is set to anything but {@code on} and {@code off}
   */
  public static boolean isOff(String property, @Nullable String value) {
    if (value != null && !value.equals("on") && !value.equals("off")) {
      throw new IllegalArgumentException(
          "system property " + property + " must be on or off; got " + value);
    }
    return "off".equals(value);
  }
}
