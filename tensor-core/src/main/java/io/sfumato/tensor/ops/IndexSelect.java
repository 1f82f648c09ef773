// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Layout;
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
 * Slices of one axis chosen by number, repetitions allowed: a table lookup. Inputs: x, index [n]
 * (I64 or I32).
 *
 * @param axis the axis
 */
public record IndexSelect(int axis) implements Differentiable {
  @Override
  public String name() {
    return "index_select";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.get(0);
    TensorSpec index = in.get(1);
    Indices.check(index);
    if (index.shape().rank() != 1) {
      throw new ShapeException("the index must have rank 1");
    }
    return List.of(x.with(x.shape().with(axis, index.shape().dim(0))));
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layouts.channelsLastKept(spec.shape(), in.subList(0, 1));
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    int a = in[0].shape().axis(axis);
    int size = in[0].dim(a);
    int inner = in[0].inner(a);
    int n = in[1].numel();
    for (int o = 0; o < in[0].outer(a); o++) {
      for (int k = 0; k < n; k++) {
        int i = Indices.at(in[1].data(), k, size);
        System.arraycopy(
            in[0].data(), (o * size + i) * inner, out[0].data(), (o * n + k) * inner, inner);
      }
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return needs[0] ? Saved.inputs(1) : Saved.NONE;
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    int size = c.inputSpec(0).shape().dim(axis);
    Tensor dx = c.needs(0) ? Shaping.indexAdd(c.grad(0), axis, c.input(1), size) : null;
    return new @Nullable Tensor[] {dx, null};
  }
}
