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
 * Zeros to whose slices {@code index[k]} of one axis the slices k of the input are added, in the
 * order of k: the adjoint of {@link IndexSelect}. Inputs: x, index [n] (I64 or I32).
 *
 * @param axis the axis
 * @param size its size in the result
 */
public record IndexAdd(int axis, int size) implements Differentiable {
  @Override
  public String name() {
    return "index_add";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.get(0);
    TensorSpec index = in.get(1);
    Indices.check(index);
    if (index.shape().rank() != 1 || index.shape().dim(0) != x.shape().dim(axis)) {
      throw new ShapeException("the index must have shape [" + x.shape().dim(axis) + "]");
    }
    return List.of(x.with(x.shape().with(axis, size)));
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layouts.channelsLastKept(spec.shape(), in.subList(0, 1));
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] y = out[0].data();
    int a = in[0].shape().axis(axis);
    int inner = in[0].inner(a);
    int n = in[1].numel();
    for (int o = 0; o < in[0].outer(a); o++) {
      for (int k = 0; k < n; k++) {
        int to = (o * size + Indices.at(in[1].data(), k, size)) * inner;
        int from = (o * n + k) * inner;
        for (int j = 0; j < inner; j++) {
          y[to + j] += x[from + j];
        }
      }
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return needs[0] ? Saved.inputs(1) : Saved.NONE;
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    Tensor dx = c.needs(0) ? Shaping.indexSelect(c.grad(0), axis, c.input(1)) : null;
    return new @Nullable Tensor[] {dx, null};
  }
}
