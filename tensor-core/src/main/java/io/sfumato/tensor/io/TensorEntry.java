// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Shape;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * One tensor of a file, as its header describes it.
 *
 * @param name its key
 * @param type the format's spelling of the element type, for example {@code F8_E4M3}
 * @param dims the dimensions, outermost first, as unsigned 64-bit numbers: beside a dimension of 0
 *     a file may name any
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
    int[] d = new int[dims.size()];
    for (int i = 0; i < d.length; i++) {
      long size = dims.get(i);
      if (size < 0 || size > Integer.MAX_VALUE) {
        throw new ArithmeticException("dimension " + Long.toUnsignedString(size) + " is too large");
      }
      d[i] = (int) size;
    }
    return Shape.of(d);
  }

  /** The same entry under another name. */
  public TensorEntry named(String other) {
    return new TensorEntry(other, type, dims, begin, end);
  }

  /** Whether the dimensions are those of {@code shape}. */
  boolean hasShape(Shape shape) {
    if (dims.size() != shape.rank()) {
      return false;
    }
    for (int i = 0; i < dims.size(); i++) {
      if (dims.get(i) != shape.dim(i)) {
        return false;
      }
    }
    return true;
  }

  /** The dimensions for messages, at most 16 of them. */
  String dimsText() {
    return dims.stream()
        .limit(16)
        .map(Long::toUnsignedString)
        .collect(Collectors.joining(", ", "[", dims.size() > 16 ? ", …]" : "]"));
  }

  @Override
  public String toString() {
    return name + " " + dimsText() + " " + type;
  }
}
