// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.library;

import io.sfumato.tensor.DType;

/**
 * The shape of a call as NVIDIA's libraries put it, with matrices in column-major order: {@code C =
 * alpha op(A) op(B) + beta C (+ bias)}, op(A) [m, k], op(B) [k, n], C [m, n].
 *
 * @param dtype the type of A, B, C and the bias
 * @param tf32 whether products of f32 may round to tf32
 * @param transposeA whether A is stored [k, m]
 * @param transposeB whether B is stored [n, k]
 * @param m rows
 * @param n columns
 * @param k products in a sum
 * @param lda the stride of A's columns
 * @param ldb the stride of B's columns
 * @param ldc the stride of C's columns
 * @param batch the number of products
 * @param strideA the stride from A to A, in elements
 * @param strideB the stride from B to B
 * @param strideC the stride from C to C
 * @param bias whether a bias of m values is added to each column
 * @param alignment the largest power of two that divides all addresses, 256 at most
 */
public record ColumnGemm(
    DType dtype,
    boolean tf32,
    boolean transposeA,
    boolean transposeB,
    int m,
    int n,
    int k,
    int lda,
    int ldb,
    int ldc,
    int batch,
    long strideA,
    long strideB,
    long strideC,
    boolean bias,
    int alignment) {

  /** cudaDataType. */
  int dataType() {
    return switch (dtype) {
      case F32 -> 0;
      case F64 -> 1;
      case F16 -> 2;
      case BF16 -> 14;
      default -> throw new IllegalArgumentException("no products of " + dtype);
    };
  }

  /** cudaDataType of alpha and beta. */
  int scaleType() {
    return dtype == DType.F64 ? 1 : 0;
  }

  /** cublasComputeType_t: f32 without rounding of operands, unless that is allowed. */
  int computeType() {
    return dtype == DType.F64 ? 70 : tf32 && dtype == DType.F32 ? 77 : 68;
  }
}
