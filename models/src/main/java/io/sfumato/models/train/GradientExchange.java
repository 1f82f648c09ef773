// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.autograd.Gradients;
import io.sfumato.autograd.optim.Optimizer;
import io.sfumato.autograd.optim.ParameterGroup;
import java.util.List;

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
        public Gradients average(Gradients own) {
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
   * The mean of the gradients of all processes.
   *
   * @param own those of this process
   * @return those to go on with, in the current scope
   */
  Gradients average(Gradients own);

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
