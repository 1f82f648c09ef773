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
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * A linear layer with a coded weight W [out, in], {@code y = x Wᵀ + b}, or its adjoint {@code y = x
 * W + b}. Inputs: x [..., in] ([..., out] for the adjoint), the parts of W (see {@link Coding})
 * and, if there is one, b. The weight is decoded piece by piece while it is multiplied; it is
 * frozen, and backward needs its codes alone.
 *
 * @param coding how the weight is coded; of two axes
 * @param adjoint whether x is multiplied with W instead of Wᵀ
 * @param bias whether there is a bias
 */
public record QuantizedLinear(Coding coding, boolean adjoint, boolean bias)
    implements Differentiable {
  @Override
  public String name() {
    return "quantized_linear";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.getFirst();
    if (!x.dtype().isFloating()) {
      throw new DTypeException("input must be floating");
    }
    Shape w = coding.shape();
    if (w.rank() != 2) {
      throw new ShapeException("weight must have shape [out, in]; it is " + w);
    }
    int from = w.dim(adjoint ? 0 : 1);
    int to = w.dim(adjoint ? 1 : 0);
    if (x.shape().rank() < 1 || x.shape().dim(-1) != from) {
      throw new ShapeException("the last axis of the input must have " + from + " elements");
    }
    coding.check(in, 1);
    if (bias) {
      TensorSpec b = in.get(1 + coding.parts());
      Require.shape(b, Shape.of(to), "bias", "[out]");
      if (b.dtype() != x.dtype()) {
        throw new DTypeException("bias must have the type of the input");
      }
    }
    return List.of(x.with(x.shape().with(-1, to)));
  }

  @Override
  public boolean mayCast(int input) {
    return input == 0 || input > coding.parts();
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] w = coding.values(in, 1);
    double[] y = out[0].data();
    int k = in[0].dim(-1);
    int n = out[0].dim(-1);
    for (int i = 0; i < y.length; i++) {
      int row = i / n;
      int column = i % n;
      double sum = bias ? in[1 + coding.parts()].data()[column] : 0;
      for (int p = 0; p < k; p++) {
        sum += x[row * k + p] * w[adjoint ? p * n + column : column * k + p];
      }
      y[i] = sum;
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    coding.refuseGradients(needs, 1);
    return needs[0] ? Saved.inputs(IntStream.rangeClosed(1, coding.parts()).toArray()) : Saved.NONE;
  }

  /** {@code dx = dy W} (or {@code dy Wᵀ}), {@code db} the sum of dy over all rows. */
  @Override
  public @Nullable Tensor[] backward(Backward c) {
    @Nullable Tensor[] gradients = new @Nullable Tensor[c.inputs()];
    Tensor g = c.grad(0);
    if (c.needs(0)) {
      Tensor[] in = new Tensor[1 + coding.parts()];
      in[0] = g;
      for (int i = 1; i < in.length; i++) {
        in[i] = c.input(i);
      }
      gradients[0] = Executor.run(new QuantizedLinear(coding, !adjoint, false), in);
    }
    int last = 1 + coding.parts();
    if (bias && c.needs(last)) {
      gradients[last] = Num.sumTo(Linear.rows(g), c.inputSpec(last).shape());
    }
    return gradients;
  }
}
