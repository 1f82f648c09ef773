// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.TensorSpec;
import java.util.List;

/**
 * An op that writes into some of its inputs and has no outputs: optimiser steps, running
 * statistics. Never recorded; a tape that saved an overwritten tensor notices by its version. The
 * reference writes into {@code in[i].data()} of the mutated inputs.
 */
public interface InPlaceOp extends Op {
  /** The numbers of the inputs that are written. */
  int[] mutated();

  @Override
  default List<TensorSpec> infer(List<TensorSpec> in) {
    check(in);
    return List.of();
  }

  /**
   * The shape rule.
   *
   * @throws io.sfumato.tensor.TensorException if a requirement is not met
   */
  void check(List<TensorSpec> in);
}
