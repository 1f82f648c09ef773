// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.autograd.GradientListener;
import io.sfumato.autograd.Gradients;
import io.sfumato.autograd.optim.Optimizer;
import io.sfumato.autograd.optim.ParameterGroup;
import io.sfumato.tensor.Parameter;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What several processes that train one model do together in a step. An {@link Update} calls it
 * once per step, after the gradients of all micro-batches were averaged and before their norm is
 * taken and limited, so that every process decides the same. {@link #NONE} is one process alone.
 */
public interface GradientExchange {
  /** One process: everything stays as it is. */
  GradientExchange NONE =
      new GradientExchange() {
        @Override
        public Gradients average(List<Parameter> parameters, Gradients own) {
          return own;
        }

        @Override
        public double average(double own) {
          return own;
        }

        @Override
        public String toString() {
          return "none";
        }
      };

  /**
   * What to tell of the gradients of one batch while backward computes them, so that they are under
   * way when {@link #average(List, Gradients)} asks for their mean. For a step of one micro-batch.
   *
   * @param parameters what is updated
   * @return null if nobody wants to know
   */
  default @Nullable GradientListener listener(List<Parameter> parameters) {
    return null;
  }

  /**
   * The mean of the gradients of all processes.
   *
   * @param parameters what is updated
   * @param own those of this process
   * @return those to go on with, in the current scope
   */
  Gradients average(List<Parameter> parameters, Gradients own);

  /**
   * The norm of the mean gradient, the same in every process.
   *
   * @param parameters what is updated
   * @param mean what {@link #average(List, Gradients)} gave, which may be a part
   */
  default double norm(List<Parameter> parameters, Gradients mean) {
    return mean.norm();
  }

  /**
   * Hears of tensors that training changes beside the parameters, such as running statistics and
   * codebooks of averages. Every process changes them alike; what is done about them is to see to
   * that.
   *
   * @param parameters what is updated
   * @param buffers of the same model
   */
  default void common(List<Parameter> parameters, List<Parameter> buffers) {}

  /** The mean of a number over all processes, NaN if one has NaN: the loss. */
  double average(double own);

  /**
   * The optimiser of a model, which may keep a part of the state only.
   *
   * @param groups all parameters
   * @param options how they are updated
   */
  default Optimizer optimizer(List<ParameterGroup> groups, UpdateOptions options) {
    return options.optimizer().create(groups, options.adamOptions());
  }
}
