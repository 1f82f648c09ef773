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
 * {@code y = scale x + shift} with constants: how tensors meet Java numbers.
 *
 * @param scale factor
 * @param shift summand
 */
public record Affine(double scale, double shift) implements Differentiable {
  @Override
  public String name() {
    return "affine";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.getFirst();
    boolean whole = scale == Math.rint(scale) && shift == Math.rint(shift);
    if (x.dtype() == DType.BOOL || (!whole && !x.dtype().isFloating())) {
      throw new DTypeException("the input must be floating, or integer with whole constants");
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
      y[i] = scale * x[i] + shift;
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.NONE;
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    return new @Nullable Tensor[] {scale == 1 ? c.grad(0) : c.grad(0).mul(scale)};
  }
}
