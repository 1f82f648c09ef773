// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.optim;

import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.ops.Updates;
import java.util.Collection;
import java.util.List;
import java.util.Map;

/**
 * Stochastic gradient descent: {@code g = grad + decay p}, {@code v = μv + g}, {@code p -= lr v};
 * with Nesterov {@code p -= lr (g + μv)}. As {@code torch.optim.SGD} without dampening.
 */
public final class Sgd extends StatefulOptimizer {
  private static final String VELOCITY = "momentum_buffer";
  private final Options options;

  /**
   * Options of {@link Sgd}.
   *
   * @param learningRate step size
   * @param momentum μ, decay of the velocity
   * @param nesterov whether to look ahead; needs momentum
   * @param weightDecay coefficient of the L2 term
   */
  public record Options(
      double learningRate, double momentum, boolean nesterov, double weightDecay) {
    /** Checks the numbers. */
    public Options {
      Checks.notNegative("learningRate", learningRate);
      Checks.notNegative("momentum", momentum);
      Checks.notNegative("weightDecay", weightDecay);
      if (nesterov && momentum == 0) {
        throw new IllegalArgumentException("Nesterov needs momentum; got momentum 0");
      }
    }

    /** Another step size. */
    public Options learningRate(double value) {
      return new Options(value, momentum, nesterov, weightDecay);
    }

    /** Another momentum. */
    public Options momentum(double value) {
      return new Options(learningRate, value, nesterov, weightDecay);
    }

    /** Looks ahead with this momentum. */
    public Options nesterov(double value) {
      return new Options(learningRate, value, true, weightDecay);
    }

    /** Another coefficient of the L2 term. */
    public Options weightDecay(double value) {
      return new Options(learningRate, momentum, nesterov, value);
    }
  }

  /** An optimizer of some parameters. */
  public Sgd(Collection<Parameter> parameters, Options options) {
    this(List.of(ParameterGroup.of(parameters)), options);
  }

  /** An optimizer of groups. */
  public Sgd(List<ParameterGroup> groups, Options options) {
    super(groups, options.learningRate(), options.weightDecay());
    this.options = options;
  }

  /** PyTorch's: learning rate 1e-3, no momentum, no weight decay. */
  public static Options options() {
    return new Options(1e-3, 0, false, 0);
  }

  @Override
  Map<String, TensorSpec> stateOf(TensorSpec value) {
    return options.momentum() == 0 ? Map.of() : Map.of(VELOCITY, value);
  }

  @Override
  void update(List<Item> items, double rate, double decay, long step, Pass pass) {
    List<Tensor> p = all(items, Item::value);
    List<Tensor> g = all(items, Item::grad);
    if (options.momentum() == 0) {
      Updates.sgd(p, g, rate, decay, pass.scale());
    } else {
      Updates.sgdMomentum(
          p,
          g,
          all(items, VELOCITY),
          rate,
          options.momentum(),
          options.nesterov(),
          decay,
          pass.scale());
    }
  }
}
