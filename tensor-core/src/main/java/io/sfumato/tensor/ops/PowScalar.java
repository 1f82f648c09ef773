// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * {@code y = x^p} with a constant exponent; special cases as {@link Math#pow}.
 *
 * @param exponent p
 */
public record PowScalar(double exponent) implements Differentiable {
  @Override
  public String name() {
    return "pow_scalar";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.getFirst();
    boolean natural = exponent == Math.rint(exponent) && exponent >= 0;
    if (x.dtype() == DType.BOOL || (!natural && !x.dtype().isFloating())) {
      throw new DTypeException("the input must be floating, or integer with a natural exponent");
    }
    return List.of(x);
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layouts.elementwise(spec.shape(), in);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] y = out[0].data();
    for (int i = 0; i < y.length; i++) {
      y[i] = Math.pow(x[i], exponent);
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return exponent == 0 ? Saved.NONE : Saved.inputs(0);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    if (exponent == 0) {
      return new @Nullable Tensor[] {Shaping.full(c.inputSpec(0), 0)};
    }
    return new @Nullable Tensor[] {c.grad(0).mul(Num.pow(c.input(0), exponent - 1)).mul(exponent)};
  }
}
