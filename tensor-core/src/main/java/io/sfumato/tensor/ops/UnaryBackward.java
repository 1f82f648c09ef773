// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Composite;
import io.sfumato.tensor.exec.Dense;
import java.util.List;
import java.util.Locale;
import java.util.function.DoubleUnaryOperator;

/**
 * Fused backward of activations: {@code dx = dy f'}, with {@code f'} from what forward kept, the
 * input x or the output y. Inputs: kept, dy.
 *
 * @param kind of which function
 */
public record UnaryBackward(Kind kind) implements Composite {
  static final double SQRT_2_OVER_PI = 0.7978845608028654;
  static final double GELU_CUBIC = 0.044715;
  private static final double SQRT_HALF = 0.7071067811865476;
  private static final double INV_SQRT_2PI = 0.3989422804014327;

  /** The functions. {@link #derivative} is the definition. */
  public enum Kind {
    /** {@code 1 - y²}. */
    TANH(y -> 1 - y * y),
    /** {@code y (1 - y)}. */
    SIGMOID(y -> y * (1 - y)),
    /** {@code σ(x) (1 + x (1 - σ(x)))}. */
    SILU(x -> Unary.sigmoid(x) * (1 + x * (1 - Unary.sigmoid(x)))),
    /** {@code Φ(x) + x φ(x)}. */
    GELU(x -> ErrorFunction.normalCdf(x) + x * ErrorFunction.normalDensity(x)),
    /** With {@code t = tanh(√(2/π) (x + 0.044715 x³))}: {@code (1 + t + x (1 - t²) u'(x)) / 2}. */
    GELU_TANH(
        x -> {
          double t = Math.tanh(Unary.geluArgument(x));
          double slope = SQRT_2_OVER_PI * (1 + 3 * GELU_CUBIC * x * x);
          return 0.5 * (1 + t + x * (1 - t * t) * slope);
        }),
    /** 1 where x is positive, else 0. */
    RELU(x -> x > 0 ? 1 : 0);

    private final DoubleUnaryOperator function;

    Kind(DoubleUnaryOperator function) {
      this.function = function;
    }

    /** The derivative, given the kept input or output. */
    public double derivative(double kept) {
      return function.applyAsDouble(kept);
    }
  }

  @Override
  public String name() {
    return kind.name().toLowerCase(Locale.ROOT) + "_backward";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec kept = in.get(0);
    if (!kept.shape().equals(in.get(1).shape())) {
      throw new ShapeException("both inputs must have one shape");
    }
    if (!kept.dtype().isFloating() || kept.dtype() != in.get(1).dtype()) {
      throw new DTypeException("both inputs must have one floating type");
    }
    return List.of(kept);
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layouts.elementwise(spec.shape(), in);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] kept = in[0].data();
    double[] dy = in[1].data();
    double[] dx = out[0].data();
    for (int i = 0; i < dx.length; i++) {
      dx[i] = dy[i] * kind.derivative(kept[i]);
    }
  }

  @Override
  public Tensor[] compose(Tensor[] in) {
    Tensor x = in[0];
    Tensor dy = in[1];
    return new Tensor[] {
      switch (kind) {
        case TANH -> dy.mul(Num.affine(Num.square(x), -1, 1));
        case SIGMOID -> dy.mul(x.mul(Num.affine(x, -1, 1)));
        case SILU -> {
          Tensor s = NN.sigmoid(x);
          yield dy.mul(s.mul(x.mul(Num.affine(s, -1, 1)).add(1)));
        }
        case GELU -> {
          Tensor cdf = Num.affine(Num.erf(x.mul(SQRT_HALF)), 0.5, 0.5);
          Tensor density = Num.exp(Num.square(x).mul(-0.5)).mul(INV_SQRT_2PI);
          yield dy.mul(cdf.add(x.mul(density)));
        }
        case GELU_TANH -> {
          Tensor x2 = Num.square(x);
          Tensor u = x.mul(Num.affine(x2, SQRT_2_OVER_PI * GELU_CUBIC, SQRT_2_OVER_PI));
          Tensor slope = Num.affine(x2, 3 * SQRT_2_OVER_PI * GELU_CUBIC, SQRT_2_OVER_PI);
          Tensor t = Num.tanh(u);
          Tensor bump = x.mul(slope).mul(Num.affine(Num.square(t), -1, 1));
          yield dy.mul(t.add(1).add(bump).mul(0.5));
        }
        case RELU -> dy.mul(Num.cast(Num.gt(x, 0), x.dtype()));
      }
    };
  }
}
