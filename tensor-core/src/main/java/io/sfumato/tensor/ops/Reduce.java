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
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * Reduction of axes to one value. Sums and products of integers and BOOL are I64; over no elements
 * a sum is 0, a product 1, a mean NaN, any is false and all is true; a maximum of nothing is
 * refused.
 *
 * @param kind which
 * @param axes the axes, negative ones from the end; none for all
 * @param keepDims whether reduced axes stay with size 1
 */
public record Reduce(Kind kind, List<Integer> axes, boolean keepDims) implements Differentiable {
  /** The reductions. */
  public enum Kind {
    /** Σ x. */
    SUM,
    /** Σ x / n; floating inputs only. */
    MEAN,
    /** The largest; NaN if any is NaN. Ties share the gradient equally. */
    MAX,
    /** The smallest; NaN if any is NaN. Ties share the gradient equally. */
    MIN,
    /** Π x. */
    PROD,
    /** Whether one is not 0, as BOOL. */
    ANY,
    /** Whether all are not 0, as BOOL. */
    ALL
  }

  @Override
  public String name() {
    return kind.name().toLowerCase(Locale.ROOT);
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.getFirst();
    Shape shape = Reductions.shape(x.shape(), axes, keepDims);
    if (kind == Kind.MEAN && !x.dtype().isFloating()) {
      throw new DTypeException("the input must be floating; cast it first");
    }
    boolean extremum = kind == Kind.MAX || kind == Kind.MIN;
    if (extremum && shape.numel() > 0 && x.shape().numel() == 0) {
      throw new ShapeException("the reduced axes must not be empty");
    }
    DType dtype =
        switch (kind) {
          case SUM, PROD -> x.dtype().isFloating() ? x.dtype() : DType.I64;
          case MEAN, MAX, MIN -> x.dtype();
          case ANY, ALL -> DType.BOOL;
        };
    return List.of(x.with(shape).with(dtype));
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] y = out[0].data();
    Arrays.fill(
        y,
        switch (kind) {
          case SUM, MEAN, ANY -> 0;
          case PROD, ALL -> 1;
          case MAX -> Double.NEGATIVE_INFINITY;
          case MIN -> Double.POSITIVE_INFINITY;
        });
    Reductions.forEach(
        in[0],
        axes,
        (i, o) ->
            y[o] =
                switch (kind) {
                  case SUM, MEAN -> y[o] + x[i];
                  case MAX -> Math.max(y[o], x[i]);
                  case MIN -> Math.min(y[o], x[i]);
                  case PROD -> y[o] * x[i];
                  case ANY -> x[i] != 0 ? 1 : y[o];
                  case ALL -> x[i] == 0 ? 0 : y[o];
                });
    if (kind == Kind.MEAN) {
      long n = Reductions.count(in[0].shape(), axes);
      for (int o = 0; o < y.length; o++) {
        y[o] /= n;
      }
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return switch (kind) {
      case SUM, MEAN, ANY, ALL -> Saved.NONE;
      case MAX, MIN -> Saved.inputs(0).andOutputs(0);
      case PROD -> Saved.inputs(0);
    };
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    Shape shape = c.inputSpec(0).shape();
    Tensor g = Reductions.keep(c.grad(0), shape, axes);
    Tensor dx =
        switch (kind) {
          case SUM -> Shaping.expand(g, shape);
          case MEAN -> Shaping.expand(g.div((double) Reductions.count(shape, axes)), shape);
          case MAX, MIN -> {
            Tensor extreme = Num.eq(c.input(0), Reductions.keep(c.output(0), shape, axes));
            Tensor chosen = Num.cast(extreme, g.dtype());
            Tensor ties = Num.sum(chosen, true, Reductions.array(axes));
            yield g.div(ties).mul(chosen);
          }
          case PROD -> Num.prodBackward(c.input(0), g, axes);
          case ANY, ALL -> Shaping.full(c.inputSpec(0), 0);
        };
    return new @Nullable Tensor[] {dx};
  }
}
