// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Sorting along an axis, stable; NaN counts as the largest. Outputs: values, indices (I64). The
 * gradient goes back to where the values came from.
 *
 * @param axis the axis
 * @param descending largest first
 */
public record Sort(int axis, boolean descending) implements Differentiable {
  @Override
  public String name() {
    return "sort";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.getFirst();
    x.shape().axis(axis);
    return List.of(x, x.with(DType.I64));
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    Ranking.fill(in[0], axis, in[0].dim(axis), descending, out[0], out[1]);
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.NONE.andOutputs(1);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    int size = c.inputSpec(0).shape().dim(axis);
    return new @Nullable Tensor[] {Num.putAlong(c.grad(0), c.output(1), axis, size)};
  }
}
