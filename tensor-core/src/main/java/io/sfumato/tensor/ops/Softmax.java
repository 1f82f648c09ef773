// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.BatchwiseOp;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * {@code y = e^x / Σ e^x} along an axis, without overflow. A line of -∞ gives NaN.
 *
 * @param axis the axis
 */
public record Softmax(int axis) implements Differentiable, BatchwiseOp {
  @Override
  public String name() {
    return "softmax";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.getFirst();
    x.shape().axis(axis);
    if (!x.dtype().isFloating()) {
      throw new DTypeException("the input must be floating; cast it first");
    }
    return List.of(x);
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
    double[] x = in[0].data();
    double[] y = out[0].data();
    int a = in[0].shape().axis(axis);
    int n = in[0].dim(a);
    int inner = in[0].inner(a);
    for (int line = 0; line < in[0].outer(a) * inner; line++) {
      int base = line / inner * n * inner + line % inner;
      double max = Double.NEGATIVE_INFINITY;
      for (int i = 0; i < n; i++) {
        max = Math.max(max, x[base + i * inner]);
      }
      double sum = 0;
      for (int i = 0; i < n; i++) {
        sum += Math.exp(x[base + i * inner] - max);
      }
      for (int i = 0; i < n; i++) {
        int p = base + i * inner;
        y[p] = Math.exp(x[p] - max) / sum;
      }
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.outputs(0);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    return new @Nullable Tensor[] {NN.softmaxBackward(c.output(0), c.grad(0), axis)};
  }
}
