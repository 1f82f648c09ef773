// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * {@code y = min(max(x, min), max)}; NaN stays NaN. The gradient passes where {@code min ≤ x ≤
 * max}.
 *
 * @param min lower bound, -∞ for none
 * @param max upper bound, +∞ for none; wins where it is below {@code min}
 */
public record Clamp(double min, double max) implements Differentiable {
  @Override
  public String name() {
    return "clamp";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.getFirst();
    boolean whole = min == Math.rint(min) && max == Math.rint(max);
    if (x.dtype() == DType.BOOL || (!whole && !x.dtype().isFloating())) {
      throw new DTypeException("the input must be floating, or integer with whole bounds");
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
      y[i] = Math.min(Math.max(x[i], min), max);
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.inputs(0);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    Tensor x = c.input(0);
    Tensor inside = Num.logicalAnd(Num.ge(x, min), Num.le(x, max));
    Tensor zero = Shaping.full(c.inputSpec(0).with(Shape.SCALAR), 0);
    return new @Nullable Tensor[] {Num.where(inside, c.grad(0), zero)};
  }
}
