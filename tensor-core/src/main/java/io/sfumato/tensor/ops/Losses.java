// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Executor;
import org.jspecify.annotations.Nullable;

/**
 * The losses among the functions of {@link NN}, which inherits them: call {@code NN.mse}. The names
 * are those of {@code torch.nn.functional}.
 */
public abstract sealed class Losses permits NN {
  Losses() {}

  /** The mean of {@code (x - target)²}. */
  public static Tensor mse(Tensor x, Tensor target) {
    return mse(x, target, Reduction.MEAN);
  }

  /** {@code (x - target)²}, of one shape. */
  public static Tensor mse(Tensor x, Tensor target, Reduction reduction) {
    return Executor.run(new Mse(reduction), x, target);
  }

  /** The mean of {@code |x - target|}. */
  public static Tensor l1(Tensor x, Tensor target) {
    return l1(x, target, Reduction.MEAN);
  }

  /** {@code |x - target|}, of one shape. */
  public static Tensor l1(Tensor x, Tensor target, Reduction reduction) {
    return reduction.of(Num.abs(difference("l1", x, target)));
  }

  /** {@code d²/2} where {@code d = |x - target| ≤ delta}, else {@code delta (d - delta/2)}. */
  public static Tensor huber(Tensor x, Tensor target, double delta, Reduction reduction) {
    Tensor d = Num.abs(difference("huber", x, target));
    Tensor near = Num.square(d).mul(0.5);
    Tensor far = Num.affine(d, delta, -0.5 * delta * delta);
    return reduction.of(Num.where(Num.le(d, delta), near, far));
  }

  /** {@code d²/(2 beta)} where {@code d = |x - target| < beta}, else {@code d - beta/2}. */
  public static Tensor smoothL1(Tensor x, Tensor target, double beta, Reduction reduction) {
    if (beta == 0) {
      return l1(x, target, reduction);
    }
    Tensor d = Num.abs(difference("smoothL1", x, target));
    Tensor near = Num.square(d).mul(0.5 / beta);
    return reduction.of(Num.where(Num.lt(d, beta), near, d.sub(0.5 * beta)));
  }

  /**
   * The mean cross entropy of logits [N, C, …] against classes [N, …] (I64); -100 does not count.
   */
  public static Tensor crossEntropy(Tensor logits, Tensor classes) {
    return crossEntropy(logits, classes, null, -100, 0, Reduction.MEAN);
  }

  /**
   * Cross entropy, {@link CrossEntropy}.
   *
   * @param logits [N, C, …], or [C]
   * @param classes [N, …], I64
   * @param weights [C], or null; they get no gradient
   * @param ignoreIndex the class that does not count
   * @param labelSmoothing share of the uniform distribution in the target, 0 to 1
   * @param reduction over all positions; the mean is weighted
   */
  public static Tensor crossEntropy(
      Tensor logits,
      Tensor classes,
      @Nullable Tensor weights,
      long ignoreIndex,
      double labelSmoothing,
      Reduction reduction) {
    CrossEntropy op = new CrossEntropy(ignoreIndex, labelSmoothing, reduction);
    return weights == null
        ? Executor.run(op, logits, classes)
        : Executor.run(op, logits, classes, weights);
  }

  /** {@code -(t log x + (1 - t) log(1 - x))} of probabilities, logarithms bounded at -100. */
  public static Tensor bce(Tensor x, Tensor target, Reduction reduction) {
    return reduction.of(Executor.run(new BinaryCrossEntropy(), x, target));
  }

  /** {@code bce(σ(x), target)} without overflow: {@code log(1 + e^x) - x t}. */
  public static Tensor bceWithLogits(Tensor x, Tensor target, Reduction reduction) {
    requireOneShape("bceWithLogits", x, target);
    return reduction.of(NN.softplus(x, 1, Double.POSITIVE_INFINITY).sub(x.mul(target)));
  }

  /**
   * Kullback-Leibler divergence {@code t (log t - x)} for each element, 0 where t is 0.
   *
   * @param x logarithms of probabilities
   * @param target probabilities t, or their logarithms if {@code logTarget}
   * @param logTarget whether the target is given as logarithms
   * @param reduction {@link Reduction#BATCH_MEAN} for the mathematical definition
   */
  public static Tensor klDiv(Tensor x, Tensor target, boolean logTarget, Reduction reduction) {
    requireOneShape("klDiv", x, target);
    if (logTarget) {
      return reduction.of(Num.exp(target).mul(target.sub(x)));
    }
    Tensor zero = Shaping.full(target.spec().with(Shape.SCALAR), 0);
    Tensor none = Num.eq(target, 0);
    Tensor safe = Num.where(none, Shaping.full(zero.spec(), 1), target);
    return reduction.of(Num.where(none, zero, target.mul(Num.log(safe).sub(x))));
  }

  static Tensor softmaxBackward(Tensor y, Tensor dy, int axis) {
    return Executor.run(new SoftmaxBackward(axis), y, dy);
  }

  static Tensor logSoftmaxBackward(Tensor y, Tensor dy, int axis) {
    return Executor.run(new LogSoftmaxBackward(axis), y, dy);
  }

  static Tensor mseBackward(Tensor x, Tensor target, Tensor g, Reduction reduction) {
    return Executor.run(new MseBackward(reduction), x, target, g);
  }

  static Tensor crossEntropyBackward(CrossEntropy forward, Tensor... inputs) {
    return Executor.run(new CrossEntropyBackward(forward), inputs);
  }

  private static Tensor difference(String loss, Tensor x, Tensor target) {
    requireOneShape(loss, x, target);
    return x.sub(target);
  }

  private static void requireOneShape(String loss, Tensor x, Tensor target) {
    if (!x.shape().equals(target.shape())) {
      throw new ShapeException(
          loss
              + ": input and target must have one shape; got "
              + x.spec()
              + " and "
              + target.spec());
    }
  }
}
