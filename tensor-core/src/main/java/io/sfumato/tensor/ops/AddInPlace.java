// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.InPlaceOp;
import java.util.List;

/**
 * {@code target = target + scale x}. Inputs: target, x, of one shape.
 *
 * @param scale factor
 */
public record AddInPlace(double scale) implements InPlaceOp {
  @Override
  public String name() {
    return "add_in_place";
  }

  @Override
  public int[] mutated() {
    return new int[] {0};
  }

  @Override
  public void check(List<TensorSpec> in) {
    if (!in.get(0).shape().equals(in.get(1).shape())) {
      throw new ShapeException("target and summand must have one shape");
    }
    if (!in.get(0).dtype().isFloating() || !in.get(1).dtype().isFloating()) {
      throw new DTypeException("target and summand must be floating");
    }
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] target = in[0].data();
    double[] x = in[1].data();
    for (int i = 0; i < x.length; i++) {
      target[i] += scale * x[i];
    }
  }
}
