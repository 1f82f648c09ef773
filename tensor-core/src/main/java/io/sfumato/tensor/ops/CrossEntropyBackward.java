// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Composite;
import io.sfumato.tensor.exec.Dense;
import java.util.Arrays;
import java.util.List;

/**
 * Fused backward of {@link CrossEntropy}: {@code dlogits = s ((1 - ε) w_t (p - onehot(t)) + ε/C (p
 * Σ_c w_c - w))}, s being the gradient of the position's loss. Inputs: logits, classes, gradient of
 * the result, optionally weights.
 *
 * @param forward the op whose backward this is
 */
public record CrossEntropyBackward(CrossEntropy forward) implements Composite {
  @Override
  public String name() {
    return "cross_entropy_backward";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec weights = in.size() > 3 ? in.get(3) : null;
    Shape positions = CrossEntropy.check(in.get(0), in.get(1), weights, forward.labelSmoothing());
    if (!in.get(2).shape().equals(forward.reduction().shape(positions))) {
      throw new ShapeException("the gradient must have the shape of the loss");
    }
    return List.of(in.getFirst());
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layouts.elementwise(spec.shape(), in.subList(0, 1));
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    Dense logits = in[0];
    int axis = CrossEntropy.classAxis(logits.shape());
    int classes = logits.dim(axis);
    int inner = logits.inner(axis);
    double[] x = logits.data();
    double[] g = in[2].data();
    double[] dx = out[0].data();
    double[] weights = CrossEntropy.weights(in.length > 3 ? in[3] : null, classes);
    double all = Arrays.stream(weights).sum();
    double counted = 0;
    for (double value : in[1].data()) {
      int t = forward.target(value, classes);
      counted += t < 0 ? 0 : weights[t];
    }
    double divisor = forward.divisor(in[1].shape(), counted);
    double smoothing = forward.labelSmoothing();
    for (int i = 0; i < in[1].numel(); i++) {
      int t = forward.target(in[1].data()[i], classes);
      if (t < 0) {
        continue;
      }
      int base = i / inner * classes * inner + i % inner;
      double lse = CrossEntropy.logSumExp(x, base, inner, classes);
      double s = g[forward.reduction() == Reduction.NONE ? i : 0] / divisor;
      for (int c = 0; c < classes; c++) {
        int at = base + c * inner;
        double p = Math.exp(x[at] - lse);
        double hit = (1 - smoothing) * weights[t] * (p - (c == t ? 1 : 0));
        dx[at] = s * (hit + smoothing / classes * (all * p - weights[c]));
      }
    }
  }

  @Override
  public Tensor[] compose(Tensor[] in) {
    Tensor logits = in[0];
    int axis = CrossEntropy.classAxis(logits.shape());
    int classes = logits.dim(axis);
    double[] numbers = new double[classes];
    Arrays.setAll(numbers, c -> c);
    int[] along = new int[logits.rank()]; // a vector over classes, to broadcast
    Arrays.fill(along, 1);
    along[axis] = classes;
    Tensor target = Shaping.unsqueeze(in[1], axis);
    Tensor counts = Num.ne(target, forward.ignoreIndex());
    Tensor hit = Num.eq(target, Tensor.of(numbers, DType.I64, logits.device(), along));
    Tensor oneHot = Num.cast(Num.logicalAnd(hit, counts), logits.dtype());
    TensorSpec row = logits.spec().with(Shape.of(along));
    Tensor weights = in.length > 3 ? Shaping.reshape(in[3], along) : Shaping.full(row, 1);
    Tensor hitWeight = Num.sum(oneHot.mul(weights), true, axis);
    Tensor s = in[2];
    if (forward.reduction() == Reduction.NONE) {
      s = Shaping.unsqueeze(s, axis);
    } else if (forward.reduction() == Reduction.MEAN) {
      s = s.div(Num.sum(hitWeight));
    } else {
      s = s.div(forward.reduction().divisor(in[1].shape()));
    }
    Tensor p = NN.softmax(logits, axis);
    double smoothing = forward.labelSmoothing();
    Tensor sharp = hitWeight.mul(p.sub(oneHot)).mul(1 - smoothing);
    Tensor flat = p.mul(Num.sum(weights)).sub(weights).mul(smoothing / classes);
    Tensor dx = sharp.add(flat.mul(Num.cast(counts, logits.dtype()))).mul(s);
    return new Tensor[] {dx};
  }
}
