// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Shape;
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
 * {@code y[…, index[…, i, …], …] = x[…, i, …]} along an axis, 0 elsewhere, where each line's
 * indices are distinct: the adjoint of {@link TakeAlong}. Inputs: x, index (I64, the shape of x).
 *
 * @param axis the axis
 * @param size the size of the axis in the result
 */
public record PutAlong(int axis, int size) implements Differentiable {
  @Override
  public String name() {
    return "put_along";
  }

  /** Sees index entry {@code i} and the position it names. */
  @FunctionalInterface
  interface Visitor {
    void accept(int i, int at);
  }

  static void check(TensorSpec index, Shape source, int axis) {
    if (index.dtype() != DType.I64) {
      throw new DTypeException("the index must be i64");
    }
    if (index.shape().rank() != source.rank()
        || !index.shape().with(axis, 0).equals(source.with(axis, 0))) {
      throw new ShapeException("the index must have the input's shape but along the axis");
    }
  }

  static void forEach(Dense index, Shape target, int axis, Visitor body) {
    int a = target.axis(axis);
    int n = index.dim(a);
    int size = target.dim(a);
    int inner = index.inner(a);
    for (int i = 0; i < index.numel(); i++) {
      int k = (int) index.data()[i];
      if (k < 0 || k >= size) {
        throw new ShapeException("indices must be in [0, " + size + "); one is " + k);
      }
      body.accept(i, (i / (inner * n) * size + k) * inner + i % inner);
    }
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.get(0);
    check(in.get(1), x.shape(), axis);
    if (!x.shape().equals(in.get(1).shape())) {
      throw new ShapeException("the index must have the input's shape");
    }
    return List.of(x.with(x.shape().with(axis, size)));
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    forEach(in[1], out[0].shape(), axis, (i, at) -> out[0].data()[at] = in[0].data()[i]);
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.inputs(1);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    return new @Nullable Tensor[] {Num.takeAlong(c.grad(0), c.input(1), axis), null};
  }
}
