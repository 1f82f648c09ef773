// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import io.sfumato.tensor.exec.StridedLoop;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * {@code y[…, i, …] = x[…, index[…, i, …], …]} along one axis. Inputs: x, index (I64 or I32) of the
 * same rank, not larger than x in the other axes. The result has the shape of the index.
 *
 * @param axis the axis
 */
public record Gather(int axis) implements Differentiable {
  @Override
  public String name() {
    return "gather";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.get(0);
    TensorSpec index = in.get(1);
    Indices.check(index);
    int a = x.shape().axis(axis);
    if (index.shape().rank() != x.shape().rank()) {
      throw new ShapeException("the index must have the rank of the input");
    }
    if (!Indices.within(index.shape(), x.shape(), a)) {
      throw new ShapeException("the index must not be larger than the input but along axis " + a);
    }
    return List.of(x.with(index.shape()));
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] y = out[0].data();
    Shape shape = in[0].shape();
    int a = shape.axis(axis);
    int inner = in[0].inner(a);
    int[] k = {0};
    StridedLoop.forEach(
        Indices.window(shape, out[0].shape(), a),
        p -> {
          int i = Indices.at(in[1].data(), k[0], shape.dim(a));
          y[k[0]++] = x[(int) p + i * inner];
        });
  }

  @Override
  public Saved saved(boolean[] needs) {
    return needs[0] ? Saved.inputs(1) : Saved.NONE;
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    Tensor dx = null;
    if (c.needs(0)) {
      Tensor zeros = Shaping.full(c.inputSpec(0), 0);
      dx = Shaping.scatterAdd(zeros, axis, c.input(1), c.grad(0));
    }
    return new @Nullable Tensor[] {dx, null};
  }
}
