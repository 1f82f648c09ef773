// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

import java.util.Locale;

/**
 * Where a tensor lives.
 *
 * @param kind {@code cpu}, {@code cuda} or {@code meta}
 * @param index number of the device among those of its kind; 0 for the CPU
 */
public record Device(String kind, int index) {
  /** The host. */
  public static final Device CPU = new Device("cpu", 0);

  /** Nowhere: tensors there have a shape and a type but no memory. */
  public static final Device META = new Device("meta", 0);

  /** Checks the components. */
  public Device {
    if (index < 0) {
      throw new IllegalArgumentException("device index must not be negative; got " + index);
    }
  }

  /**
   * Parses {@code cpu}, {@code cuda} or {@code cuda:1}.
   *
   * @throws IllegalArgumentException if the text has another form
   */
  public static Device parse(String text) {
    String[] parts = text.trim().toLowerCase(Locale.ROOT).split(":", -1);
    boolean known = parts[0].equals("cpu") || parts[0].equals("cuda");
    if (!known || parts.length > 2 || (parts.length == 2 && !parts[1].matches("\\d{1,4}"))) {
      throw new IllegalArgumentException(
          "unknown device '" + text + "'; expected cpu, cuda or cuda:<index>");
    }
    return new Device(parts[0], parts.length == 2 ? Integer.parseInt(parts[1]) : 0);
  }

  /** Whether this is the host. */
  public boolean isCpu() {
    return kind.equals("cpu");
  }

  @Override
  public String toString() {
    return isCpu() || equals(META) ? kind : kind + ":" + index;
  }
}
