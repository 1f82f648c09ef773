// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.library;

/** A library of NVIDIA's that multiplies matrices, bound to one device and its stream. */
public interface Blas {
  /** Its name and version, for a line of the log. */
  String name();

  /** Whether it can do this call at all. */
  boolean takes(ColumnGemm call);

  /**
   * Launches a product on the device's stream. The device's context is current.
   *
   * @param call the shape
   * @param a address of A
   * @param b address of B
   * @param c address of C
   * @param bias address of the bias, 0 if there is none
   * @param alpha the factor of the product
   * @param beta the factor of what C holds
   * @return 0, or a cublasStatus_t
   */
  int gemm(ColumnGemm call, long a, long b, long c, long bias, double alpha, double beta);
}
