// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops.cases;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Op;
import java.util.List;

/**
 * Inputs that an op must refuse.
 *
 * @param op the op
 * @param inputs specifications of what it is given
 * @param parts what the message must contain; the op's name and all inputs are checked anyway
 */
public record ErrorCase(Op op, List<TensorSpec> inputs, List<String> parts) {
  /** An error case. */
  public static ErrorCase of(Op op, List<TensorSpec> inputs, String... parts) {
    return new ErrorCase(op, inputs, List.of(parts));
  }

  /** The specification of an f32 tensor on the CPU. */
  public static TensorSpec f32(int... shape) {
    return spec(DType.F32, shape);
  }

  /** A specification on the CPU. */
  public static TensorSpec spec(DType dtype, int... shape) {
    return new TensorSpec(Shape.of(shape), dtype, Device.CPU);
  }

  @Override
  public String toString() {
    return op.name() + " of " + inputs;
  }
}
