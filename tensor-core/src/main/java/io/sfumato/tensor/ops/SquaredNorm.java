// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Op;
import java.util.List;

/** {@code Σ x²} over all elements of all inputs, as one number in f32 (f64 if all are f64). */
public record SquaredNorm() implements Op {
  @Override
  public String name() {
    return "squared_norm";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    DType dtype = DType.F64;
    for (TensorSpec x : in) {
      if (!x.dtype().isFloating()) {
        throw new DTypeException("all inputs must be floating; one is " + x);
      }
      dtype = x.dtype() == DType.F64 ? dtype : DType.F32;
    }
    if (in.isEmpty()) {
      throw new DTypeException("there must be at least one input");
    }
    return List.of(in.getFirst().with(Shape.SCALAR).with(dtype));
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double sum = 0;
    for (Dense x : in) {
      for (double v : x.data()) {
        sum += v * v;
      }
    }
    out[0].data()[0] = sum;
  }
}
