// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DTypeException;
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
 * {@code y = x}, then {@code y[…, index[…, i, …], …] += source[…, i, …]} along one axis, in
 * row-major order of the index. Inputs: x, index (I64 or I32), source. Index and source have one
 * shape, not larger than x in the other axes.
 *
 * @param axis the axis
 */
public record ScatterAdd(int axis) implements Differentiable {
  @Override
  public String name() {
    return "scatter_add";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.get(0);
    TensorSpec index = in.get(1);
    TensorSpec source = in.get(2);
    Indices.check(index);
    int a = x.shape().axis(axis);
    if (source.dtype() != x.dtype()) {
      throw new DTypeException("input and source must have one type");
    }
    if (!source.shape().equals(index.shape()) || source.shape().rank() != x.shape().rank()) {
      throw new ShapeException("index and source must have one shape, of the input's rank");
    }
    if (!Indices.within(index.shape(), x.shape(), a)) {
      throw new ShapeException("the index must not be larger than the input but along axis " + a);
    }
    return List.of(x);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] y = out[0].data();
    double[] source = in[2].data();
    System.arraycopy(in[0].data(), 0, y, 0, y.length);
    Shape shape = in[0].shape();
    int a = shape.axis(axis);
    int inner = in[0].inner(a);
    int[] k = {0};
    StridedLoop.forEach(
        Indices.window(shape, in[1].shape(), a),
        p -> {
          int i = Indices.at(in[1].data(), k[0], shape.dim(a));
          y[(int) p + i * inner] += source[k[0]++];
        });
  }

  @Override
  public Saved saved(boolean[] needs) {
    return needs[2] ? Saved.inputs(1) : Saved.NONE;
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    Tensor g = c.grad(0);
    Tensor source = c.needs(2) ? Shaping.gather(g, axis, c.input(1)) : null;
    return new @Nullable Tensor[] {c.needs(0) ? g : null, null, source};
  }
}
