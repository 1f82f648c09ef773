// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.autograd.Autograd;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.ops.Updates;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.Function;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Loss and gradients of batches, forward and backward recorded by a {@link GraphedStep}. The norm,
 * its limit, the optimiser and averages come after it as ever, so a step whose numbers are not
 * finite still changes nothing.
 */
final class GraphedGradients implements AutoCloseable {
  private final List<Parameter> parameters;
  private final Function<Supplier<Tensor[]>, Autograd.Result> gradients;
  private final List<Parameter> slots = new ArrayList<>(); // inputs, at the same addresses always
  private @Nullable GraphedStep step;
  private Autograd.@Nullable Result result;

  /**
   * Nothing is recorded yet.
   *
   * @param parameters what is trained
   * @param gradients computes a loss and the gradients
   */
  GraphedGradients(
      List<Parameter> parameters, Function<Supplier<Tensor[]>, Autograd.Result> gradients) {
    this.parameters = parameters;
    this.gradients = gradients;
  }

  /**
   * Computes.
   *
   * @return valid until the next call
   * @throws IllegalArgumentException if inputs have other shapes than the first ones
   */
  Autograd.Result of(Update.RepeatedLoss loss, long number) {
    try (Scope scope = Scope.open()) {
      put(loss.inputs(number), number);
    }
    if (step == null) {
      step = new GraphedStep(parameters.getFirst().value().device(), () -> compute(loss));
    }
    step.run();
    return Objects.requireNonNull(result);
  }

  private void put(List<Tensor> inputs, long number) {
    if (slots.isEmpty()) {
      for (int i = 0; i < inputs.size(); i++) {
        slots.add(new Parameter("input " + i, Tensor.empty(inputs.get(i).spec())));
      }
    }
    List<TensorSpec> first = slots.stream().map(p -> p.value().spec()).toList();
    List<TensorSpec> now = inputs.stream().map(Tensor::spec).toList();
    if (!now.equals(first)) {
      throw new IllegalArgumentException(
          "a recorded step needs batches of the same shapes; batch "
              + number
              + " has "
              + now
              + " after "
              + first);
    }
    for (int i = 0; i < inputs.size(); i++) {
      Updates.copy(slots.get(i).value(), inputs.get(i));
    }
  }

  /** Runs freely, or while it is recorded. */
  private Tensor[] compute(Update.RepeatedLoss loss) {
    List<Tensor> inputs = slots.stream().map(Parameter::value).toList();
    Autograd.Result now = gradients.apply(() -> loss.of(inputs));
    result = now;
    List<Tensor> all = new ArrayList<>(List.of(now.value()));
    all.addAll(now.extra());
    all.addAll(now.gradients().asMap().values());
    return all.toArray(Tensor[]::new);
  }

  @Override
  public void close() {
    if (step != null) {
      step.close();
    }
    slots.forEach(Parameter::close);
    slots.clear();
  }
}
