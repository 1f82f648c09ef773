// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Op;
import java.util.List;

/**
 * {@code start + i step} for element i, computed in f64.
 *
 * @param start the first element
 * @param step the difference of neighbours
 * @param spec what to make, of rank 1
 */
public record Sequence(double start, double step, TensorSpec spec) implements Op {
  @Override
  public String name() {
    return "sequence";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    if (spec.shape().rank() != 1) {
      throw new ShapeException("a sequence must have rank 1; asked for " + spec);
    }
    if (spec.dtype() == DType.BOOL) {
      throw new DTypeException("a sequence must be of numbers; asked for " + spec);
    }
    return List.of(spec);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] y = out[0].data();
    for (int i = 0; i < y.length; i++) {
      y[i] = start + i * step;
    }
  }
}
