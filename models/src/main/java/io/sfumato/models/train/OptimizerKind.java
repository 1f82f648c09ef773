// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.autograd.optim.Adam;
import io.sfumato.autograd.optim.AdamOptions;
import io.sfumato.autograd.optim.AdamW;
import io.sfumato.autograd.optim.AdamW8Bit;
import io.sfumato.autograd.optim.Optimizer;
import io.sfumato.autograd.optim.ParameterGroup;
import java.util.List;

/** The optimisers that a training run can have, by name. */
public enum OptimizerKind {
  /** {@link Adam}: weight decay is part of the gradient. */
  ADAM("adam"),
  /** {@link AdamW}: weight decay shrinks the parameter. */
  ADAMW("adamw"),
  /** {@link AdamW8Bit}: AdamW with moments in bytes. */
  ADAMW_8BIT("adamw8bit");

  private final String label;

  OptimizerKind(String label) {
    this.label = label;
  }

  /** The name in configurations. */
  public String label() {
    return label;
  }

  /**
   * The kind of this name.
   *
   * @throws IllegalArgumentException if there is none
   */
  public static OptimizerKind parse(String label) {
    for (OptimizerKind kind : values()) {
      if (kind.label.equals(label)) {
        return kind;
      }
    }
    throw new IllegalArgumentException(
        "the optimizer must be adam, adamw or adamw8bit; got " + label);
  }

  /** A new optimiser of these parameters. */
  Optimizer create(List<ParameterGroup> groups, AdamOptions options) {
    return switch (this) {
      case ADAM -> new Adam(groups, options);
      case ADAMW -> new AdamW(groups, options);
      case ADAMW_8BIT -> new AdamW8Bit(groups, options);
    };
  }

  /** Bytes of state for one F32 element, about. */
  double stateBytes() {
    return this == ADAMW_8BIT ? 2 * (1 + 4.0 / 256) : 8;
  }
}
