// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.ops.Num;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;

/**
 * What is asked of a file beyond names and shapes, and errors that say which file they are about.
 */
final class StoredValues {
  private StoredValues() {}

  /**
   * Checks that what was read can be computed with.
   *
   * @param where the file
   * @throws IllegalArgumentException listing parameters that are no floating numbers, or not finite
   */
  static void check(AdapterSet set, String where) {
    check(set.parameters(), where);
  }

  /** The same for parameters that are no set's. */
  static void check(List<Parameter> parameters, String where) {
    List<String> problems = new ArrayList<>();
    for (Parameter p : parameters) {
      if (!p.value().dtype().isFloating()) {
        problems.add(p.name() + " is of type " + p.value().dtype().label() + ", not floating");
        continue;
      }
      try (Scope scope = Scope.open()) {
        if (Num.sum(p.value().mul(0)).item() != 0) { // of infinity and NaN it is NaN
          problems.add(p.name() + " is not finite");
        }
      }
    }
    if (!problems.isEmpty()) {
      throw new IllegalArgumentException(where + ": " + String.join("; ", problems));
    }
  }

  /** Reads, and names the file in what is thrown about arguments. */
  static <T> T about(String where, Supplier<T> read) {
    try {
      return read.get();
    } catch (IllegalArgumentException e) {
      String message = String.valueOf(e.getMessage());
      throw message.contains(where) ? e : new IllegalArgumentException(where + ": " + message, e);
    }
  }
}
