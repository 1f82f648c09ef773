// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.tensor.DType;
import org.jspecify.annotations.Nullable;

/**
 * Products of matrices, {@code C = alpha (A B + A' B') + beta C + bias}, for each index of two
 * batch axes: A [m, k], B [k, n], C [m, n] with columns of stride 1, and a second, optional pair A'
 * [m, k'], B' [k', n] that has no batch axes and joins the same sums.
 *
 * @param dtype the type of all operands
 * @param m rows of C
 * @param n columns of C
 * @param k products in a sum
 * @param outer length of the outer batch axis
 * @param inner length of the inner batch axis
 * @param a the left operands
 * @param b the right operands
 * @param c the results
 * @param bias where a row of n values lies that is added to each row, or 0
 * @param alpha the factor of the products
 * @param beta the factor of what C holds before; 0: it is not read
 * @param more the second pair
 */
record Product(
    DType dtype,
    int m,
    int n,
    int k,
    int outer,
    int inner,
    Matrices a,
    Matrices b,
    Matrices c,
    long bias,
    double alpha,
    double beta,
    @Nullable More more) {

  /** A second pair of operands. */
  record More(int k, Matrices a, Matrices b) {}

  /** {@code C = A B} with one matrix each. */
  static Product of(DType dtype, int m, int n, int k, Matrices a, Matrices b, Matrices c) {
    return new Product(dtype, m, n, k, 1, 1, a, b, c, 0, 1, 0, null);
  }

  /** The same for batches. */
  Product batches(int newOuter, int newInner) {
    return new Product(dtype, m, n, k, newOuter, newInner, a, b, c, bias, alpha, beta, more);
  }

  /** The same with a bias. */
  Product plusBias(long row) {
    return new Product(dtype, m, n, k, outer, inner, a, b, c, row, alpha, beta, more);
  }

  /** The same with other factors. */
  Product scaled(double newAlpha, double newBeta) {
    return new Product(dtype, m, n, k, outer, inner, a, b, c, bias, newAlpha, newBeta, more);
  }

  /** The same with a second pair of operands. */
  Product plus(int k2, Matrices a2, Matrices b2) {
    return new Product(
        dtype, m, n, k, outer, inner, a, b, c, bias, alpha, beta, new More(k2, a2, b2));
  }

  /** The same for other operands of the same shapes. */
  Product on(Matrices newA, Matrices newB, Matrices newC) {
    return new Product(dtype, m, n, k, outer, inner, newA, newB, newC, bias, alpha, beta, more);
  }

  /** The first pair alone, without the bias. */
  Product alone() {
    return new Product(dtype, m, n, k, outer, inner, a, b, c, 0, alpha, beta, null);
  }

  /** The second pair alone, with bias and factors; there is one. */
  Product moreAlone() {
    More pair = java.util.Objects.requireNonNull(more);
    return new Product(
        dtype, m, n, pair.k, outer, inner, pair.a, pair.b, c, bias, alpha, beta, null);
  }

  /** The number of products. */
  long batches() {
    return (long) outer * inner;
  }
}
