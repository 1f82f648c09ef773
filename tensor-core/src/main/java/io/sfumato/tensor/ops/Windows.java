// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.ShapeException;

/** The arithmetic of pooling windows. */
final class Windows {
  private Windows() {}

  /** {@code floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1}, checked. */
  static int outputSize(int size, int kernel, int stride, int padding, int dilation) {
    if (kernel < 1 || stride < 1 || dilation < 1) {
      throw new ShapeException(
          "kernel, stride and dilation must be positive; got kernel "
              + kernel
              + ", stride "
              + stride
              + ", dilation "
              + dilation);
    }
    if (padding < 0 || padding > kernel / 2) {
      throw new ShapeException(
          "padding must be at most half of the kernel " + kernel + "; got " + padding);
    }
    int room = size + 2 * padding - dilation * (kernel - 1) - 1;
    if (room < 0) {
      throw new ShapeException(
          "the window ("
              + (dilation * (kernel - 1) + 1)
              + ") must not exceed the padded input ("
              + (size + 2 * padding)
              + ")");
    }
    return room / stride + 1;
  }
}
