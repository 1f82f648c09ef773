// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.GradientFree;
import java.util.List;

/**
 * The values of a coded weight. Inputs are its parts, see {@link Coding}; the output has its shape
 * and is rounded from f32.
 *
 * @param coding how it is coded
 * @param dtype the floating type of the result
 */
public record Dequantize(Coding coding, DType dtype) implements GradientFree {
  @Override
  public String name() {
    return "dequantize";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    if (!dtype.isFloating()) {
      throw new DTypeException("the result must be floating");
    }
    coding.check(in, 0);
    return List.of(in.getFirst().with(coding.shape()).with(dtype));
  }

  @Override
  public boolean mayCast(int input) {
    return false;
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] values = coding.values(in, 0);
    System.arraycopy(values, 0, out[0].data(), 0, values.length);
  }
}
