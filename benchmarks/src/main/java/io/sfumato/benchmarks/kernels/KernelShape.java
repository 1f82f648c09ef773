// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.kernels;

/** One shape of a kernel: a constant of an enum in {@link Shapes}. */
public interface KernelShape {
  /** The name of the constant. */
  String name();

  /** The sizes, for a table. */
  String sizes();
}
