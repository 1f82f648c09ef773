// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.TensorSpec;
import java.util.List;
import java.util.stream.IntStream;

/** Inputs of updates: {@code lists} lists of {@code count} tensors each, one after the other. */
final class ParameterLists {
  private ParameterLists() {}

  /** The numbers of all inputs of some lists. */
  static int[] numbers(int count, int... lists) {
    return IntStream.of(lists)
        .flatMap(list -> IntStream.range(list * count, (list + 1) * count))
        .toArray();
  }

  /** Refuses lists whose shapes differ, and types that are not floating. */
  static void check(List<TensorSpec> in, int count, int lists) {
    if (in.size() != count * lists) {
      throw new ShapeException(
          "there must be " + lists + " lists of " + count + " tensors; got " + in.size());
    }
    for (int i = 0; i < in.size(); i++) {
      if (!in.get(i).dtype().isFloating()) {
        throw new DTypeException("all tensors must be floating; one is " + in.get(i));
      }
      if (!in.get(i).shape().equals(in.get(i % count).shape())) {
        throw new ShapeException(
            "tensors of one parameter must have one shape; got "
                + in.get(i % count)
                + " and "
                + in.get(i));
      }
    }
  }
}
