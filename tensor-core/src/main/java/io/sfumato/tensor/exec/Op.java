// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.TensorSpec;
import java.util.List;

/**
 * One operation, as a value: a record of its attributes with its shape rule and its reference. Ops
 * are run by {@link Executor#execute} only, and constructed by the facades in {@code
 * io.sfumato.tensor.ops} only.
 *
 * <p>An op that can be differentiated is {@link Differentiable}; one whose result aliases its input
 * is a {@link ViewOp} or, if there are several, {@link ViewsOp}; one that writes into its inputs is
 * an {@link InPlaceOp}.
 */
public interface Op {
  /** The name in messages and traces, in snake case: {@code group_norm}. */
  String name();

  /**
   * The shape rule: what comes out for what goes in. Pure, and run before anything is allocated.
   *
   * @param in specifications of the inputs
   * @return specifications of the outputs
   * @throws io.sfumato.tensor.TensorException with the requirement alone as message, if one is not
   *     met; the executor adds op, inputs and module path
   */
  List<TensorSpec> infer(List<TensorSpec> in);

  /**
   * Computes the outputs in plain loops over row-major f64 values: the definition of the op, what
   * fast kernels are tested against, and what runs when a device has no other kernel.
   *
   * @param in values of the inputs, rounded to their types; not modified
   * @param out filled by this method; rounded to the output types afterwards
   */
  void reference(Dense[] in, Dense[] out);

  /**
   * How an output shall lie in memory; row-major unless an op says otherwise.
   *
   * @param output number of the output
   * @param spec its specification
   * @param inputs the layouts of the inputs
   */
  default Layout layout(int output, TensorSpec spec, List<Layout> inputs) {
    return Layout.contiguous(spec.shape());
  }

  /**
   * Whether {@link Autocast} may give a floating input another type. It may not where the type is
   * fixed, as that of the scales of a coded weight is.
   */
  default boolean mayCast(int input) {
    return true;
  }
}
