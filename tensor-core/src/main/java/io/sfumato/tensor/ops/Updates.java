// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.InPlaceOp;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Updates in place: optimiser steps, moving averages, accumulation. Lists go together: element i of
 * each belongs to parameter i. Nothing here is recorded by a tape.
 */
public final class Updates {
  private Updates() {}

  /**
   * Constants of {@link Updates#adamW}.
   *
   * @param learningRate step size
   * @param beta1 decay of the first moment
   * @param beta2 decay of the second moment
   * @param eps added to the denominator
   * @param weightDecay decay coefficient
   * @param decoupled AdamW if true, else Adam with the decay in the gradient
   * @param step 1 for the first step
   * @param gradScale factor on the gradients, for clipping
   */
  public record Adam(
      double learningRate,
      double beta1,
      double beta2,
      double eps,
      double weightDecay,
      boolean decoupled,
      long step,
      double gradScale) {}

  /**
   * A limit of the norm of all gradients together.
   *
   * @param maxNorm the largest norm
   * @param squaredNorm what {@link Updates#squaredNorm} gives for all gradients
   */
  public record Limit(double maxNorm, Tensor squaredNorm) {}

  /**
   * Moving averages of parameters.
   *
   * @param tensors an average for each parameter
   * @param decay how much of it stays
   */
  public record Averages(List<Tensor> tensors, double decay) {}

  /** One step of Adam or AdamW, {@link AdamWStep}; p, m and v are overwritten. */
  public static void adamW(
      List<Tensor> p, List<Tensor> grads, List<Tensor> m, List<Tensor> v, Adam a) {
    adamW(p, grads, m, v, a, null, null);
  }

  /**
   * {@link #adamW(List, List, List, List, Adam)} that also limits the gradients' norm and moves
   * averages of the parameters, in the same pass.
   *
   * @param limit the largest norm and the norm that there is; null without a limit
   * @param averages the averages, which are overwritten, and their decay; null without
   */
  public static void adamW(
      List<Tensor> p,
      List<Tensor> grads,
      List<Tensor> m,
      List<Tensor> v,
      Adam a,
      @Nullable Limit limit,
      @Nullable Averages averages) {
    AdamWStep op =
        new AdamWStep(
            p.size(),
            a.learningRate(),
            a.beta1(),
            a.beta2(),
            a.eps(),
            a.weightDecay(),
            a.decoupled(),
            a.step(),
            a.gradScale(),
            limit == null ? null : limit.maxNorm(),
            averages == null ? null : averages.decay());
    List<List<Tensor>> lists = new ArrayList<>(List.of(p, grads, m, v));
    if (averages != null) {
      lists.add(averages.tensors());
    }
    if (limit != null && !p.isEmpty()) {
      lists.add(List.of(limit.squaredNorm()));
    }
    run(op, lists);
  }

  /** One step of Lion, {@link LionStep}; p and m are overwritten. */
  public static void lion(
      List<Tensor> p,
      List<Tensor> grads,
      List<Tensor> m,
      double learningRate,
      double beta1,
      double beta2,
      double weightDecay,
      double gradScale) {
    run(
        new LionStep(p.size(), learningRate, beta1, beta2, weightDecay, gradScale),
        List.of(p, grads, m));
  }

  /** One step of gradient descent without momentum, {@link SgdStep}; p is overwritten. */
  public static void sgd(
      List<Tensor> p,
      List<Tensor> grads,
      double learningRate,
      double weightDecay,
      double gradScale) {
    run(new SgdStep(p.size(), learningRate, 0, false, weightDecay, gradScale), List.of(p, grads));
  }

  /** One step of gradient descent with momentum, {@link SgdStep}; p and v are overwritten. */
  public static void sgdMomentum(
      List<Tensor> p,
      List<Tensor> grads,
      List<Tensor> v,
      double learningRate,
      double momentum,
      boolean nesterov,
      double weightDecay,
      double gradScale) {
    SgdStep op = new SgdStep(p.size(), learningRate, momentum, nesterov, weightDecay, gradScale);
    run(op, momentum == 0 ? List.of(p, grads) : List.of(p, grads, v));
  }

  /** {@code average += (1 - decay) (x - average)}. */
  public static void ema(List<Tensor> averages, List<Tensor> x, double decay) {
    run(new EmaStep(averages.size(), decay), List.of(averages, x));
  }

  /** {@code target += scale x}. */
  public static void add(Tensor target, Tensor x, double scale) {
    execute(new AddInPlace(scale), target, x);
  }

  /** {@code target = x}, cast to the target's type. */
  public static void copy(Tensor target, Tensor x) {
    execute(new CopyInto(), target, x);
  }

  /** {@code target = x} for each pair, cast to the target's type: {@link CopyAll}. */
  public static void copy(List<Tensor> targets, List<Tensor> x) {
    run(new CopyAll(targets.size()), List.of(targets, x));
  }

  /** {@code Σ x²} over all elements of all tensors, as a scalar, summed in f64. */
  public static Tensor squaredNorm(List<Tensor> tensors) {
    return Executor.run(new SquaredNorm(), tensors.toArray(Tensor[]::new));
  }

  private static void run(InPlaceOp op, List<List<Tensor>> lists) {
    if (!lists.getFirst().isEmpty()) {
      execute(op, lists.stream().flatMap(List::stream).toArray(Tensor[]::new));
    }
  }

  private static void execute(InPlaceOp op, Tensor... inputs) {
    Executor.current().execute(op, inputs);
  }
}
