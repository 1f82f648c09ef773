// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.autograd.Gradients;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import io.sfumato.tensor.ops.Updates;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The pruning of {@link AdaLora} while it trains: after each optimiser step the least important
 * singular values, over all layers together, become zero, until the target is left. The budget
 * falls from the initial ranks to the targets with a cubic schedule; the importance of a triplet is
 * that of its singular value and the means over its two vectors, each smoothed sensitivity times
 * smoothed uncertainty (section 3 of the paper, in PEFT's form).
 */
public final class AdaLoraBudget implements AutoCloseable {
  /**
   * The schedule.
   *
   * @param targetRank the mean rank that is left
   * @param warmUp steps before pruning starts (tinit)
   * @param settled steps at the end with the final budget (tfinal)
   * @param interval steps from one pruning to the next (deltaT)
   * @param totalSteps steps of the whole training
   * @param beta1 decay of the smoothed sensitivity
   * @param beta2 decay of its uncertainty
   */
  public record Options(
      int targetRank,
      long warmUp,
      long settled,
      int interval,
      long totalSteps,
      double beta1,
      double beta2) {
    /** Checks the values. */
    public Options {
      if (targetRank < 1 || warmUp < 0 || settled < 0 || interval < 1) {
        throw new IllegalArgumentException(
            "target rank and interval must be positive, warm-up and settled not negative");
      }
      if (totalSteps - settled <= warmUp) {
        throw new IllegalArgumentException(
            "no steps are left to prune in: "
                + totalSteps
                + " in all, "
                + warmUp
                + " of warm-up, "
                + settled
                + " settled");
      }
    }

    /** Rank 8, pruning at every step but the first and last tenth, PEFT's decays. */
    public static Options of(long totalSteps) {
      return new Options(8, totalSteps / 10, totalSteps / 10, 1, totalSteps, 0.85, 0.85);
    }
  }

  /** Smoothed sensitivity and uncertainty of one parameter. */
  private record Importance(Parameter sensitivity, Parameter uncertainty) {}

  private final Options options;
  private final List<AdaLora.Part> parts = new ArrayList<>();
  private final Map<Parameter, Importance> importances = new LinkedHashMap<>();
  private final int initialBudget;

  /**
   * A schedule for one adapter.
   *
   * @throws IllegalArgumentException if a part is not AdaLoRA's
   */
  public AdaLoraBudget(AdapterSet set, Options options) {
    this.options = options;
    int budget = 0;
    for (LayerAdapter part : set.parts().values()) {
      if (!(part instanceof AdaLora.Part ours)) {
        throw new IllegalArgumentException(part.path() + ": only AdaLoRA has a budget");
      }
      parts.add(ours);
      budget += ours.e().value().dim(0);
    }
    initialBudget = budget;
  }

  /** What is left of the ranks, all layers together, after {@code step} steps. */
  public int budget(long step) {
    int target = options.targetRank * parts.size();
    if (step <= options.warmUp) {
      return initialBudget;
    }
    if (step > options.totalSteps - options.settled) {
      return target;
    }
    double left =
        1
            - (double) (step - options.warmUp)
                / (options.totalSteps - options.settled - options.warmUp);
    return (int) (target + (initialBudget - target) * left * left * left);
  }

  /**
   * Prunes after an optimiser step.
   *
   * @param step the number of steps done, this one included
   * @param gradients those the step was made with
   */
  public void update(long step, Gradients gradients) {
    try (Scope scope = Scope.open()) {
      if (step < options.totalSteps - options.settled) {
        for (AdaLora.Part part : parts) {
          for (Parameter p : List.of(part.a(), part.b(), part.e())) {
            Tensor gradient = gradients.get(p);
            if (gradient != null) {
              smooth(p, gradient);
            }
          }
        }
        if (step > options.warmUp && step % options.interval == 0) {
          prune(budget(step));
        }
      } else if (step == options.totalSteps - options.settled) {
        prune(budget(step));
      }
    }
  }

  private void smooth(Parameter p, Tensor gradient) {
    Importance i =
        importances.computeIfAbsent(
            p,
            q ->
                new Importance(
                    new Parameter(q.name() + ".sensitivity", Tensor.zeros(q.value().spec())),
                    new Parameter(q.name() + ".uncertainty", Tensor.zeros(q.value().spec()))));
    Tensor now = Num.abs(p.value().mul(gradient));
    Tensor smooth = i.sensitivity.value().mul(options.beta1).add(now.mul(1 - options.beta1));
    Tensor spread =
        i.uncertainty
            .value()
            .mul(options.beta2)
            .add(Num.abs(now.sub(smooth)).mul(1 - options.beta2));
    Updates.copy(i.sensitivity.value(), smooth);
    Updates.copy(i.uncertainty.value(), spread);
  }

  private Tensor score(Parameter p) {
    Importance i = importances.get(p);
    return i == null
        ? Tensor.zeros(p.value().spec())
        : i.sensitivity.value().mul(i.uncertainty.value());
  }

  /** Zeroes the singular values of the triplets whose scores are the least. */
  private void prune(int budget) {
    List<double[]> scores = new ArrayList<>();
    for (AdaLora.Part part : parts) {
      Tensor ofA = Num.mean(score(part.a()), 1); // [r]
      Tensor ofB = Num.mean(score(part.b()), 0);
      Tensor ofE = Shaping.squeeze(score(part.e()), 1);
      scores.add(ofE.add(ofA).add(ofB).toDoubleArray());
    }
    double[] all = scores.stream().flatMapToDouble(Arrays::stream).sorted().toArray();
    int dropped = initialBudget - budget;
    if (dropped <= 0) {
      return;
    }
    double threshold = all[dropped - 1];
    for (int i = 0; i < parts.size(); i++) {
      double[] kept = Arrays.stream(scores.get(i)).map(s -> s <= threshold ? 0 : 1).toArray();
      Tensor e = parts.get(i).e().value();
      Tensor mask = Tensor.of(kept, kept.length, 1).to(e.dtype()).to(e.device());
      Updates.copy(e, e.mul(mask));
    }
  }

  /**
   * What is added to the loss so that the vectors stay orthogonal: the mean over all factors of
   * {@code ‖P Pᵀ - I‖}, P being A and Bᵀ; PEFT weighs it with 0.5.
   */
  public Tensor orthogonality() {
    Tensor sum = null;
    for (AdaLora.Part part : parts) {
      Tensor a = part.a().value();
      Tensor b = part.b().value();
      Tensor both =
          distance(a.matmul(a.transpose(0, 1))).add(distance(b.transpose(0, 1).matmul(b)));
      sum = sum == null ? both : sum.add(both);
    }
    if (sum == null) {
      throw new IllegalStateException("there are no parts");
    }
    return sum.div(2.0 * parts.size());
  }

  private static Tensor distance(Tensor gram) {
    Tensor difference = gram.sub(Rotations.eye(gram));
    return Num.sqrt(Num.sum(Num.square(difference)));
  }

  @Override
  public void close() {
    importances
        .values()
        .forEach(
            i -> {
              i.sensitivity.close();
              i.uncertainty.close();
            });
    importances.clear();
  }
}
