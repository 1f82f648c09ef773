// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import java.util.List;

/**
 * A value of a configuration that is one for all levels of a model, or one for each: {@code 8} or
 * {@code [5, 10, 20]}. It is written as it was read.
 *
 * @param values one value, or one per level
 * @param single whether the one value stands alone
 */
public record OneOrEach<T>(List<T> values, boolean single) {
  /**
   * Keeps a copy.
   *
   * @throws IllegalArgumentException if a single value is not one
   */
  public OneOrEach {
    values = List.copyOf(values);
    if (single && values.size() != 1) {
      throw new IllegalArgumentException("a single value must be one; got " + values);
    }
  }

  /** One value for all. */
  public static <T> OneOrEach<T> one(T value) {
    return new OneOrEach<>(List.of(value), true);
  }

  /** One value for each. */
  public static <T> OneOrEach<T> each(List<T> values) {
    return new OneOrEach<>(values, false);
  }

  /** The value of level {@code i}. */
  public T at(int i) {
    return single ? values.getFirst() : values.get(i);
  }

  /** The value of the last level. */
  public T last() {
    return values.getLast();
  }

  /** Whether there is a value for each of {@code levels}. */
  public boolean fits(int levels) {
    return single || values.size() == levels;
  }

  /** As it is written: the value, or the list; values that are of this kind likewise. */
  public Object toJson() {
    List<Object> all =
        values.stream().<Object>map(v -> v instanceof OneOrEach<?> o ? o.toJson() : v).toList();
    return single ? all.getFirst() : all;
  }
}
