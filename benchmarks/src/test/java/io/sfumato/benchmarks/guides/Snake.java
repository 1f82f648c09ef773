// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.guides;

import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Composite;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.Saved;
import io.sfumato.tensor.ops.Num;
import java.util.List;
import org.jspecify.annotations.Nullable;

// @start region="op"
/** {@code y = x + sin²(a x) / a}; x is [N, C], a is [C]. */
record Snake() implements Differentiable {
  @Override
  public String name() {
    return "snake";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.get(0);
    TensorSpec a = in.get(1);
    if (x.shape().rank() != 2 || a.shape().rank() != 1 || x.shape().dim(1) != a.shape().dim(0)) {
      throw new ShapeException("x must be [N, C] and a [C]");
    }
    if (!x.dtype().isFloating() || x.dtype() != a.dtype()) {
      throw new DTypeException("x and a must have one floating type");
    }
    return List.of(x);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] a = in[1].data();
    double[] y = out[0].data();
    for (int i = 0; i < y.length; i++) {
      double f = a[i % a.length];
      double s = Math.sin(f * x[i]);
      y[i] = x[i] + s * s / f;
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.inputs(0, 1);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    return Executor.current().execute(new Gradient(), c.input(0), c.input(1), c.grad(0));
  }

  // @end

  // @start region="gradient"
  /** Gradients of x and a from x, a and dy, in one pass. */
  record Gradient() implements Composite {
    @Override
    public String name() {
      return "snake_backward";
    }

    @Override
    public List<TensorSpec> infer(List<TensorSpec> in) {
      return in.subList(0, 2);
    }

    @Override
    public void reference(Dense[] in, Dense[] out) {
      double[] x = in[0].data();
      double[] a = in[1].data();
      double[] dy = in[2].data();
      for (int i = 0; i < x.length; i++) {
        int k = i % a.length;
        double s = Math.sin(a[k] * x[i]);
        double twice = Math.sin(2 * a[k] * x[i]);
        out[0].data()[i] = dy[i] * (1 + twice);
        out[1].data()[k] += dy[i] * (twice * x[i] / a[k] - s * s / (a[k] * a[k]));
      }
    }

    @Override
    public Tensor[] compose(Tensor[] in) { // the same by other ops, for second derivatives
      Tensor x = in[0];
      Tensor a = in[1];
      Tensor dy = in[2];
      Tensor square = Num.square(Num.sin(a.mul(x)));
      Tensor twice = Num.sin(a.mul(x).mul(2));
      Tensor slope = twice.mul(x).div(a).sub(square.div(a.mul(a)));
      return new Tensor[] {dy.mul(twice.add(1)), Num.sumTo(dy.mul(slope), a.shape())};
    }
  }
  // @end
}
