// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

/**
 * What is known of a tensor without its values: all that shape rules see.
 *
 * @param shape the dimensions
 * @param dtype the element type
 * @param device where it lives
 */
public record TensorSpec(Shape shape, DType dtype, Device device) {
  /** This specification with another shape. */
  public TensorSpec with(Shape other) {
    return new TensorSpec(other, dtype, device);
  }

  /** This specification with another element type. */
  public TensorSpec with(DType other) {
    return new TensorSpec(shape, other, device);
  }

  /** The number of bytes of a dense tensor of this specification. */
  public long bytes() {
    return Math.multiplyExact(shape.numel(), (long) dtype.bytes());
  }

  @Override
  public String toString() {
    return shape + " " + dtype.label() + " " + device;
  }
}
