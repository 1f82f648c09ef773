// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.optim;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Updates;
import java.util.Collection;
import java.util.List;
import java.util.Map;

/**
 * Adafactor (Shazeer and Stern 2018) as {@code torch.optim.Adafactor}: the second moment of a
 * matrix is kept as one row and one column. With {@code β = t^decay}: {@code R = (1-β) R + β
 * mean_cols(g²)}, {@code C} alike, {@code V = R C / mean(R)}, {@code U = g / √V}, {@code p -= α U /
 * max(1, rms(U) / d)}, {@code α = max(ε₂, rms(p)) min(lr, 1/√t)}. Parameters with more than two
 * axes are stacks of matrices in their last two axes; vectors keep V itself. Norms are read back
 * from the device.
 */
public final class Adafactor extends StatefulOptimizer {
  private static final String ROW = "row_var";
  private static final String COLUMN = "col_var";
  private static final String VARIANCE = "variance";
  private final Options options;

  /**
   * Options of {@link Adafactor}.
   *
   * @param learningRate largest relative step
   * @param beta2Decay exponent of t; not positive
   * @param eps2 smallest rms of a parameter
   * @param clip d, the rms at which updates are clipped; at least 1
   * @param weightDecay decay coefficient
   */
  public record Options(
      double learningRate, double beta2Decay, double eps2, double clip, double weightDecay) {
    /** Checks the numbers. */
    public Options {
      Checks.notNegative("learningRate", learningRate);
      Checks.notNegative("eps2", eps2);
      Checks.notNegative("weightDecay", weightDecay);
      if (!(beta2Decay <= 0)) {
        throw new IllegalArgumentException("beta2Decay must not be positive; got " + beta2Decay);
      }
      if (!(clip >= 1)) {
        throw new IllegalArgumentException("clip must be at least 1; got " + clip);
      }
    }

    /** Another largest relative step. */
    public Options learningRate(double value) {
      return new Options(value, beta2Decay, eps2, clip, weightDecay);
    }

    /** Another exponent of t. */
    public Options beta2Decay(double value) {
      return new Options(learningRate, value, eps2, clip, weightDecay);
    }

    /** Another threshold of clipping. */
    public Options clip(double value) {
      return new Options(learningRate, beta2Decay, eps2, value, weightDecay);
    }

    /** Another decay coefficient. */
    public Options weightDecay(double value) {
      return new Options(learningRate, beta2Decay, eps2, clip, value);
    }
  }

  /** An optimizer of some parameters. */
  public Adafactor(Collection<Parameter> parameters, Options options) {
    this(List.of(ParameterGroup.of(parameters)), options);
  }

  /** An optimizer of groups. */
  public Adafactor(List<ParameterGroup> groups, Options options) {
    super(groups, options.learningRate(), options.weightDecay());
    this.options = options;
  }

  /** PyTorch's: learning rate 1e-2, exponent -0.8, ε₂ 1e-3, clipping at 1, no weight decay. */
  public static Options options() {
    return new Options(1e-2, -0.8, 1e-3, 1, 0);
  }

  @Override
  Map<String, TensorSpec> stateOf(TensorSpec value) {
    Shape shape = value.shape();
    return shape.rank() > 1
        ? Map.of(ROW, value.with(shape.with(-1, 1)), COLUMN, value.with(shape.with(-2, 1)))
        : Map.of(VARIANCE, value);
  }

  @Override
  void update(List<Item> items, double rate, double decay, long step, Pass pass) {
    for (Item item : items) {
      update(item, rate, decay, step, pass.scale());
    }
  }

  private void update(Item item, double rate, double decay, long step, double scale) {
    Tensor p = item.value();
    DType dtype = p.dtype();
    Tensor g = Num.cast(item.grad(), dtype);
    if (scale != 1) {
      g = g.mul(scale);
    }
    double eps1 = dtype == DType.F64 ? Math.ulp(1.0) : Math.ulp(1f);
    double weight = Math.pow(step, options.beta2Decay());
    double alpha = Math.max(options.eps2(), rms(p)) * Math.min(rate, 1 / Math.sqrt(step));
    if (decay != 0) {
      Updates.copy(p, p.mul(1 - rate * decay));
    }
    Tensor squares = Num.square(g);
    Tensor estimate;
    if (p.rank() > 1) {
      Tensor row = lerp(item.state(ROW), Num.mean(squares, true, -1), weight);
      Tensor column = lerp(item.state(COLUMN), Num.mean(squares, true, -2), weight);
      Tensor mean = Num.clamp(Num.mean(row, true, -2), eps1, Double.POSITIVE_INFINITY);
      estimate = row.mul(column).div(mean);
    } else {
      estimate = lerp(item.state(VARIANCE), squares, weight);
    }
    Tensor update = Num.rsqrt(Num.clamp(estimate, eps1 * eps1, Double.POSITIVE_INFINITY)).mul(g);
    double clip = Math.max(1, rms(update) / options.clip());
    Updates.add(p, update, -alpha / clip);
  }

  /** {@code state += weight (x - state)}. */
  private static Tensor lerp(Tensor state, Tensor x, double weight) {
    Updates.ema(List.of(state), List.of(x), 1 - weight);
    return state;
  }

  private static double rms(Tensor x) {
    return Math.sqrt(Updates.squaredNorm(List.of(x)).item() / Math.max(1, x.numel()));
  }
}
