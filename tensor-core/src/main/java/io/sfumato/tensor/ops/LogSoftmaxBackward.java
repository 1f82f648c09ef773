// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.BatchwiseOp;
import io.sfumato.tensor.exec.Composite;
import io.sfumato.tensor.exec.Dense;
import java.util.List;

/**
 * Fused backward of {@link LogSoftmax} from its output: {@code dx = dy - e^y Σ dy}. Inputs: y, dy.
 *
 * @param axis the axis
 */
public record LogSoftmaxBackward(int axis) implements Composite, BatchwiseOp {
  @Override
  public String name() {
    return "log_softmax_backward";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec y = in.get(0);
    y.shape().axis(axis);
    if (!y.shape().equals(in.get(1).shape())) {
      throw new ShapeException("both inputs must have one shape");
    }
    if (!y.dtype().isFloating() || y.dtype() != in.get(1).dtype()) {
      throw new DTypeException("both inputs must have one floating type");
    }
    return List.of(y);
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layouts.elementwise(spec.shape(), in);
  }

  @Override
  public boolean isBatchwise(Shape first) {
    return first.axis(axis) != 0;
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] y = in[0].data();
    double[] dy = in[1].data();
    double[] dx = out[0].data();
    int a = in[0].shape().axis(axis);
    int n = in[0].dim(a);
    int inner = in[0].inner(a);
    for (int line = 0; line < in[0].outer(a) * inner; line++) {
      int base = line / inner * n * inner + line % inner;
      double sum = 0;
      for (int i = 0; i < n; i++) {
        int p = base + i * inner;
        sum += dy[p];
      }
      for (int i = 0; i < n; i++) {
        int p = base + i * inner;
        dx[p] = dy[p] - Math.exp(y[p]) * sum;
      }
    }
  }

  @Override
  public Tensor[] compose(Tensor[] in) {
    Tensor y = in[0];
    Tensor dy = in[1];
    return new Tensor[] {dy.sub(Num.exp(y).mul(Num.sum(dy, true, axis)))};
  }
}
