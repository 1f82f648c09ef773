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
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Cross entropy of logits against class numbers: with {@code p = softmax(logits)} along axis 1
 * (axis 0 for one sample without batch), {@code loss = (1 - ε) w_t (-log p_t) + ε/C Σ_c w_c (-log
 * p_c)}; 0 where the class is {@code ignoreIndex}. The mean is {@code Σ loss / Σ w_t} over what
 * counts; NaN if nothing does. Inputs: logits [N, C, …], classes [N, …] (I64), optionally weights
 * [C], which get no gradient.
 *
 * @param ignoreIndex the class that does not count
 * @param labelSmoothing ε (Szegedy et al. 2016)
 * @param reduction over all positions
 */
public record CrossEntropy(long ignoreIndex, double labelSmoothing, Reduction reduction)
    implements Differentiable {
  @Override
  public String name() {
    return "cross_entropy";
  }

  static int classAxis(Shape logits) {
    return logits.rank() == 1 ? 0 : 1;
  }

  static Shape check(
      TensorSpec logits, TensorSpec classes, @Nullable TensorSpec weights, double smoothing) {
    if (logits.shape().rank() == 0 || !logits.dtype().isFloating()) {
      throw new DTypeException("logits must be floating, [N, C, ...] or [C]");
    }
    int axis = classAxis(logits.shape());
    Shape positions = logits.shape().without(axis);
    if (classes.dtype() != DType.I64) {
      throw new DTypeException("classes must be i64");
    }
    if (!classes.shape().equals(positions)) {
      throw new ShapeException("classes must have the logits' shape without axis " + axis);
    }
    if (weights != null
        && (!weights.shape().equals(Shape.of(logits.shape().dim(axis)))
            || weights.dtype() != logits.dtype())) {
      throw new ShapeException("weights must be [C], of the logits' type");
    }
    if (!(smoothing >= 0 && smoothing <= 1)) {
      throw new ShapeException("label smoothing must be from 0 to 1; got " + smoothing);
    }
    return positions;
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec weights = in.size() > 2 ? in.get(2) : null;
    Shape positions = check(in.get(0), in.get(1), weights, labelSmoothing);
    return List.of(in.get(0).with(reduction.shape(positions)));
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    Dense logits = in[0];
    int axis = classAxis(logits.shape());
    int classes = logits.dim(axis);
    int inner = logits.inner(axis);
    double[] x = logits.data();
    double[] y = out[0].data();
    double[] weights = weights(in.length > 2 ? in[2] : null, classes);
    double total = 0;
    double counted = 0;
    for (int i = 0; i < in[1].numel(); i++) {
      int t = target(in[1].data()[i], classes);
      if (t < 0) {
        continue;
      }
      int base = i / inner * classes * inner + i % inner;
      double lse = logSumExp(x, base, inner, classes);
      double smooth = 0;
      for (int c = 0; c < classes; c++) {
        smooth += weights[c] * (lse - x[base + c * inner]);
      }
      double hit = weights[t] * (lse - x[base + t * inner]);
      double loss = (1 - labelSmoothing) * hit + labelSmoothing / classes * smooth;
      if (reduction == Reduction.NONE) {
        y[i] = loss;
      }
      total += loss;
      counted += weights[t];
    }
    if (reduction != Reduction.NONE) {
      y[0] = total / divisor(in[1].shape(), counted);
    }
  }

  /** What the sum of losses is divided by, {@code counted} being the weight of what counts. */
  double divisor(Shape positions, double counted) {
    return reduction == Reduction.MEAN ? counted : reduction.divisor(positions);
  }

  static double[] weights(@Nullable Dense given, int classes) {
    if (given != null) {
      return given.data();
    }
    double[] ones = new double[classes];
    Arrays.fill(ones, 1);
    return ones;
  }

  /** The class as an index, or -1 if it does not count. */
  int target(double value, int classes) {
    if ((long) value == ignoreIndex) {
      return -1;
    }
    if (value < 0 || value >= classes) {
      throw new ShapeException(
          "classes must be in [0, " + classes + ") or " + ignoreIndex + "; one is " + (long) value);
    }
    return (int) value;
  }

  static double logSumExp(double[] x, int base, int step, int n) {
    double max = Double.NEGATIVE_INFINITY;
    for (int c = 0; c < n; c++) {
      max = Math.max(max, x[base + c * step]);
    }
    double sum = 0;
    for (int c = 0; c < n; c++) {
      sum += Math.exp(x[base + c * step] - max);
    }
    return max + Math.log(sum);
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.inputs(IntStream.range(0, needs.length).toArray());
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    @Nullable Tensor[] grads = new @Nullable Tensor[c.inputs()];
    if (c.inputs() > 2 && c.needs(2)) {
      throw new io.sfumato.tensor.NotDifferentiableException(
          "class weights have no gradient; detach them");
    }
    grads[0] =
        c.inputs() > 2
            ? NN.crossEntropyBackward(this, c.input(0), c.input(1), c.grad(0), c.input(2))
            : NN.crossEntropyBackward(this, c.input(0), c.input(1), c.grad(0));
    return grads;
  }
}
