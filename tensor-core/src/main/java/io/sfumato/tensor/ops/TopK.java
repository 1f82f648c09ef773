// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The {@code k} largest or smallest elements along an axis, sorted from the most extreme on; of
 * equal ones the first. NaN counts as the largest. Outputs: values, indices (I64).
 *
 * @param k how many
 * @param axis the axis
 * @param largest whether the largest are wanted
 */
public record TopK(int k, int axis, boolean largest) implements Differentiable {
  @Override
  public String name() {
    return "topk";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.getFirst();
    if (k < 0 || k > x.shape().dim(axis)) {
      throw new ShapeException("k must be from 0 to the size of the axis; got k " + k);
    }
    TensorSpec y = x.with(x.shape().with(axis, k));
    return List.of(y, y.with(DType.I64));
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    Ranking.fill(in[0], axis, k, largest, out[0], out[1]);
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
