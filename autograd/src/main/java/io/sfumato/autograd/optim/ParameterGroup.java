// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.optim;

import io.sfumato.tensor.Parameter;
import java.util.Collection;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Parameters that share a learning rate and a weight decay.
 *
 * @param parameters the parameters
 * @param learningRate their learning rate; null for that of the optimizer
 * @param weightDecay their weight decay; null for that of the optimizer
 */
public record ParameterGroup(
    List<Parameter> parameters, @Nullable Double learningRate, @Nullable Double weightDecay) {
  /** Checks the numbers and copies the list. */
  public ParameterGroup {
    parameters = List.copyOf(parameters);
    if (learningRate != null) {
      Checks.notNegative("learningRate", learningRate);
    }
    if (weightDecay != null) {
      Checks.notNegative("weightDecay", weightDecay);
    }
  }

  /** A group with the optimizer's own numbers. */
  public static ParameterGroup of(Collection<Parameter> parameters) {
    return new ParameterGroup(List.copyOf(parameters), null, null);
  }

  /** This group with its own learning rate. */
  public ParameterGroup learningRate(double rate) {
    return new ParameterGroup(parameters, rate, weightDecay);
  }

  /** This group with its own weight decay. */
  public ParameterGroup weightDecay(double decay) {
    return new ParameterGroup(parameters, learningRate, decay);
  }
}
