// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.Tensor;
import java.util.function.Supplier;

/**
 * The one way to run an op. {@link Eager} does the work; autograd, autocast, tracing and the search
 * for NaN are decorators of this method, bound for a region of code.
 */
@FunctionalInterface
public interface Executor {
  /**
   * Runs an op.
   *
   * @param op the op
   * @param inputs its inputs
   * @return its outputs, owned by the current scope
   * @throws io.sfumato.tensor.TensorException if the inputs do not fit or the device cannot do it
   */
  Tensor[] execute(Op op, Tensor... inputs);

  /** The executor in force here. */
  static Executor current() {
    return Eager.CURRENT.orElse(Eager.INSTANCE);
  }

  /** Runs {@code op} on the current executor and returns its single output. */
  static Tensor run(Op op, Tensor... inputs) {
    return current().execute(op, inputs)[0];
  }

  /** Runs {@code body} with {@code executor} in force. */
  static <R> R with(Executor executor, Supplier<R> body) {
    return ScopedValue.where(Eager.CURRENT, executor).call(body::get);
  }
}
