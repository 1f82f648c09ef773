// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

/**
 * A matrix in device memory, or a batch of them along two axes; strides in elements, 0 where a
 * batch axis is broadcast.
 *
 * @param address where element (0, 0) of the first lies
 * @param row the stride from row to row
 * @param column the stride from column to column
 * @param outer the stride of the outer batch axis
 * @param inner the stride of the inner batch axis
 */
record Matrices(long address, long row, long column, long outer, long inner) {
  /** One matrix. */
  static Matrices of(long address, long row, long column) {
    return new Matrices(address, row, column, 0, 0);
  }

  /** One matrix with rows of {@code columns} elements without gaps. */
  static Matrices rowMajor(long address, long columns) {
    return of(address, columns, 1);
  }

  /** The transposes. */
  Matrices transposed() {
    return new Matrices(address, column, row, outer, inner);
  }

  /** The same seen from another first element. */
  Matrices at(long newAddress) {
    return new Matrices(newAddress, row, column, outer, inner);
  }
}
