// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.optim;

import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.ops.Updates;
import java.util.Collection;
import java.util.List;
import java.util.Map;

/**
 * Lion (Chen et al. 2023, "Symbolic discovery of optimization algorithms", algorithm 2): {@code p =
 * p (1 - lr decay) - lr sign(β₁m + (1-β₁)g)}, then {@code m = β₂m + (1-β₂)g}.
 */
public final class Lion extends StatefulOptimizer {
  private static final String FIRST = "exp_avg";
  private final Options options;

  /**
   * Options of {@link Lion}.
   *
   * @param learningRate step size; a third to a tenth of AdamW's
   * @param beta1 weight of the average gradient in the step
   * @param beta2 decay of the average gradient
   * @param weightDecay decay coefficient; three to ten times AdamW's
   */
  public record Options(double learningRate, double beta1, double beta2, double weightDecay) {
    /** Checks the numbers. */
    public Options {
      Checks.notNegative("learningRate", learningRate);
      Checks.fraction("beta1", beta1);
      Checks.fraction("beta2", beta2);
      Checks.notNegative("weightDecay", weightDecay);
    }

    /** Another step size. */
    public Options learningRate(double value) {
      return new Options(value, beta1, beta2, weightDecay);
    }

    /** Other weights of the average gradient. */
    public Options betas(double first, double second) {
      return new Options(learningRate, first, second, weightDecay);
    }

    /** Another decay coefficient. */
    public Options weightDecay(double value) {
      return new Options(learningRate, beta1, beta2, value);
    }
  }

  /** An optimizer of some parameters. */
  public Lion(Collection<Parameter> parameters, Options options) {
    this(List.of(ParameterGroup.of(parameters)), options);
  }

  /** An optimizer of groups. */
  public Lion(List<ParameterGroup> groups, Options options) {
    super(groups, options.learningRate(), options.weightDecay());
    this.options = options;
  }

  /** The paper's: learning rate 1e-4, β 0.9 and 0.99, no weight decay. */
  public static Options options() {
    return new Options(1e-4, 0.9, 0.99, 0);
  }

  @Override
  Map<String, TensorSpec> stateOf(TensorSpec value) {
    return Map.of(FIRST, value);
  }

  @Override
  void update(List<Item> items, double rate, double decay, long step, Pass pass) {
    Updates.lion(
        all(items, Item::value),
        all(items, Item::grad),
        all(items, FIRST),
        rate,
        options.beta1(),
        options.beta2(),
        decay,
        pass.scale());
  }
}
