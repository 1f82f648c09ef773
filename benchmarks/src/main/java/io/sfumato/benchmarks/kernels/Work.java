// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.kernels;

/**
 * What a kernel has to do at the least.
 *
 * @param flops multiplications and additions of its products, by their definition; 0 where there is
 *     no product. A method that needs fewer (Winograd) is credited with all of them.
 * @param bytes of operands and results, each moved once
 */
public record Work(double flops, double bytes) {
  private static final int FLOAT = 4;

  /** Products and f32 elements moved. */
  static Work of(double flops, double elements) {
    return new Work(flops, FLOAT * elements);
  }

  /** Elements moved, f32. */
  static Work moving(double elements) {
    return of(0, elements);
  }
}
