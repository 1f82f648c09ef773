// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import java.util.Locale;
import java.util.function.DoubleUnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * Elementwise functions of one tensor without parameters.
 *
 * @param kind which
 */
public record Unary(Kind kind) implements Differentiable {
  private static final double TWO_OVER_SQRT_PI = 1.1283791670955126;

  /** The functions. {@link #apply} is the definition. */
  public enum Kind {
    /** {@code |x|}; gradient 0 at 0. */
    ABS(Math::abs, false),
    /** {@code e^x}. */
    EXP(Math::exp, true),
    /** {@code e^x - 1}, exact near 0. */
    EXPM1(Math::expm1, true),
    /** Natural logarithm; NaN below 0, -∞ at 0. */
    LOG(Math::log, true),
    /** {@code log(1 + x)}, exact near 0. */
    LOG1P(Math::log1p, true),
    /** Square root; NaN below 0. */
    SQRT(Math::sqrt, true),
    /** {@code 1 / sqrt(x)}. */
    RSQRT(x -> 1 / Math.sqrt(x), true),
    /** {@code 1 / x}. */
    RECIPROCAL(x -> 1 / x, true),
    /** {@code x²}. */
    SQUARE(x -> x * x, false),
    /** Sine of an angle in radians. */
    SIN(Math::sin, true),
    /** Cosine of an angle in radians. */
    COS(Math::cos, true),
    /** Hyperbolic tangent. */
    TANH(Math::tanh, true),
    /** Logistic function {@code σ(x) = 1 / (1 + e^-x)}. */
    SIGMOID(Unary::sigmoid, true),
    /** {@code x σ(x)} (Hendrycks and Gimpel 2016; Ramachandran et al. 2017). */
    SILU(x -> x * sigmoid(x), true),
    /** {@code x Φ(x)} with the normal distribution function (Hendrycks and Gimpel 2016). */
    GELU(x -> x * ErrorFunction.normalCdf(x), true),
    /** {@code x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))}, the approximation of {@link #GELU}. */
    GELU_TANH(x -> 0.5 * x * (1 + Math.tanh(geluArgument(x))), true),
    /** {@code max(x, 0)}; NaN stays NaN; gradient 0 at 0. */
    RELU(x -> Math.max(x, 0), false),
    /** The error function {@code 2/√π ∫₀ˣ e^(-t²) dt}. */
    ERF(ErrorFunction::erf, true),
    /** The largest whole number not above x. */
    FLOOR(Math::floor, false),
    /** The smallest whole number not below x. */
    CEIL(Math::ceil, false),
    /** The nearest whole number, halves to the even one. */
    ROUND(Math::rint, false),
    /** -1, 0 or 1 by the sign; NaN stays NaN. */
    SIGN(Math::signum, false);

    private final DoubleUnaryOperator function;
    private final boolean floating;

    Kind(DoubleUnaryOperator function, boolean floating) {
      this.function = function;
      this.floating = floating;
    }

    /** The value at {@code x}. */
    public double apply(double x) {
      return function.applyAsDouble(x);
    }
  }

  @Override
  public String name() {
    return kind.name().toLowerCase(Locale.ROOT);
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.getFirst();
    if (kind.floating && !x.dtype().isFloating()) {
      throw new DTypeException("the input must be floating; cast it first");
    }
    if (x.dtype() == DType.BOOL) {
      throw new DTypeException("the input must be a number type; cast it first");
    }
    return List.of(x);
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layouts.elementwise(spec.shape(), in);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] y = out[0].data();
    for (int i = 0; i < y.length; i++) {
      y[i] = kind.apply(x[i]);
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return switch (kind) {
      case EXP, EXPM1, SQRT, RSQRT, RECIPROCAL, TANH, SIGMOID -> Saved.outputs(0);
      case FLOOR, CEIL, ROUND, SIGN -> Saved.NONE;
      default -> Saved.inputs(0);
    };
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    return new @Nullable Tensor[] {gradient(c, c.grad(0))};
  }

  private Tensor gradient(Backward c, Tensor g) {
    return switch (kind) {
      case ABS -> g.mul(Num.sign(c.input(0)));
      case EXP -> g.mul(c.output(0));
      case EXPM1 -> g.mul(c.output(0).add(1));
      case LOG -> g.div(c.input(0));
      case LOG1P -> g.div(c.input(0).add(1));
      case SQRT -> g.div(c.output(0).mul(2));
      case RSQRT -> g.mul(Num.pow(c.output(0), 3)).mul(-0.5);
      case RECIPROCAL -> g.mul(Num.square(c.output(0))).neg();
      case SQUARE -> g.mul(c.input(0)).mul(2);
      case SIN -> g.mul(Num.cos(c.input(0)));
      case COS -> g.mul(Num.sin(c.input(0))).neg();
      case ERF -> g.mul(Num.exp(Num.square(c.input(0)).neg())).mul(TWO_OVER_SQRT_PI);
      case TANH -> Num.unaryBackward(UnaryBackward.Kind.TANH, c.output(0), g);
      case SIGMOID -> Num.unaryBackward(UnaryBackward.Kind.SIGMOID, c.output(0), g);
      case SILU -> Num.unaryBackward(UnaryBackward.Kind.SILU, c.input(0), g);
      case GELU -> Num.unaryBackward(UnaryBackward.Kind.GELU, c.input(0), g);
      case GELU_TANH -> Num.unaryBackward(UnaryBackward.Kind.GELU_TANH, c.input(0), g);
      case RELU -> Num.unaryBackward(UnaryBackward.Kind.RELU, c.input(0), g);
      case FLOOR, CEIL, ROUND, SIGN -> Shaping.full(c.inputSpec(0), 0);
    };
  }

  static double sigmoid(double x) {
    return 1 / (1 + Math.exp(-x));
  }

  /** {@code √(2/π) (x + 0.044715 x³)}. */
  static double geluArgument(double x) {
    return UnaryBackward.SQRT_2_OVER_PI * (x + UnaryBackward.GELU_CUBIC * x * x * x);
  }
}
