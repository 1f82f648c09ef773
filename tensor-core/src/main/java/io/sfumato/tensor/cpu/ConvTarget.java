// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * Where output pixels of a convolution lie, in elements: the next of a row, of a column, of an
 * image.
 *
 * @param pixel to the right neighbour
 * @param row to the neighbour below
 * @param image to the next image
 */
record ConvTarget(long pixel, long row, long image) {
  /** Images that lie dense. */
  static ConvTarget dense(ConvWindow w) {
    long row = (long) w.outW() * w.outC();
    return new ConvTarget(w.outC(), row, w.outH() * row);
  }

  /** Whether all pixels of a window are rows of one matrix. */
  boolean isMatrix(ConvWindow w) {
    return row == w.outW() * pixel && image == w.outH() * row;
  }
}
