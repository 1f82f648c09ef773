// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import org.jspecify.annotations.Nullable;

/** What an op's backward is given. */
public interface Backward {
  /**
   * A saved input.
   *
   * @throws IllegalStateException if the op did not declare it in {@link Differentiable#saved}
   */
  Tensor input(int i);

  /**
   * A saved output.
   *
   * @throws IllegalStateException if the op did not declare it in {@link Differentiable#saved}
   */
  Tensor output(int i);

  /** Shape, type and device of an input, saved or not. */
  TensorSpec inputSpec(int i);

  /** Shape, type and device of an output, saved or not. */
  TensorSpec outputSpec(int i);

  /** The number of inputs. */
  int inputs();

  /** The gradient of output {@code i}, or null if nothing depends on it. */
  @Nullable Tensor gradOrNull(int i);

  /** The gradient of output {@code i}; zeros if nothing depends on it. */
  Tensor grad(int i);

  /** Whether input {@code i} wants a gradient. */
  boolean needs(int i);
}
