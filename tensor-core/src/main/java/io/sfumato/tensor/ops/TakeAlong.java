// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * {@code y[…, i, …] = x[…, index[…, i, …], …]} along an axis, where each line's indices are
 * distinct: the adjoint of {@link PutAlong}. Inputs: x, index (I64, the shape of x but for the
 * axis).
 *
 * @param axis the axis
 */
public record TakeAlong(int axis) implements Differentiable {
  @Override
  public String name() {
    return "take_along";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.get(0);
    PutAlong.check(in.get(1), x.shape(), axis);
    return List.of(x.with(in.get(1).shape()));
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    PutAlong.forEach(in[1], in[0].shape(), axis, (i, at) -> out[0].data()[i] = in[0].data()[at]);
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.inputs(1);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    int size = c.inputSpec(0).shape().dim(axis);
    return new @Nullable Tensor[] {Num.putAlong(c.grad(0), c.input(1), axis, size), null};
  }
}
