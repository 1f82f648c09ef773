// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.TensorSpec;
import java.util.List;

/** Requirements that the shape rules of several ops share. */
final class Require {
  private Require() {}

  /** All inputs have one floating type. */
  static void oneFloatingType(List<TensorSpec> in) {
    for (TensorSpec spec : in) {
      if (!spec.dtype().isFloating() || spec.dtype() != in.getFirst().dtype()) {
        throw new DTypeException("all inputs must have one floating type");
      }
    }
  }

  /** An input has exactly this shape; {@code text} describes it with names of dimensions. */
  static void shape(TensorSpec spec, Shape wanted, String what, String text) {
    if (!spec.shape().equals(wanted)) {
      throw new ShapeException(what + " must have shape " + text + " = " + wanted);
    }
  }

  /** A gradient has shape and type of what it belongs to. */
  static void gradient(TensorSpec gradient, TensorSpec of, String what) {
    if (!gradient.shape().equals(of.shape())) {
      throw new ShapeException("gradient must have the shape of the " + what + " = " + of.shape());
    }
    if (gradient.dtype() != of.dtype() || !of.dtype().isFloating()) {
      throw new DTypeException(
          "gradient must have the floating type of the " + what + ", " + of.dtype().label());
    }
  }
}
