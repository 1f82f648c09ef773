// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Shape;
import java.util.List;
import java.util.Optional;

/**
 * One tensor of a file, as its header describes it.
 *
 * @param name its key
 * @param type the format's spelling of the element type, for example {@code F8_E4M3}
 * @param dims the dimensions, outermost first
 * @param begin first byte, counted from the end of the header
 * @param end one past the last byte
 */
public record TensorEntry(String name, String type, List<Long> dims, long begin, long end) {
  /** The number of bytes. */
  public long bytes() {
    return end - begin;
  }

  /** The element type, if this library computes with it. */
  public Optional<DType> dtype() {
    for (DType d : DType.values()) {
      if (d.name().equals(type)) {
        return Optional.of(d);
      }
    }
    return Optional.empty();
  }

  /**
   * The dimensions as a shape.
   *
   * @throws ArithmeticException if one exceeds 2³¹ - 1
   */
  public Shape shape() {
    return Shape.of(dims.stream().mapToInt(Math::toIntExact).toArray());
  }

  @Override
  public String toString() {
    return name + " " + dims + " " + type;
  }
}
