// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.optim;

import io.sfumato.tensor.Parameter;
import java.util.Collection;
import java.util.List;

/**
 * AdamW (Loshchilov and Hutter 2019): {@link Adam}, but weight decay shrinks the parameter by
 * itself, {@code p = p (1 - lr decay)}. As {@code torch.optim.AdamW}.
 */
public final class AdamW extends AdamFamily {
  /** An optimizer of some parameters. */
  public AdamW(Collection<Parameter> parameters, AdamOptions options) {
    this(List.of(ParameterGroup.of(parameters)), options);
  }

  /** An optimizer of groups. */
  public AdamW(List<ParameterGroup> groups, AdamOptions options) {
    super(groups, options, true);
  }

  /** PyTorch's: learning rate 1e-3, β 0.9 and 0.999, ε 1e-8, weight decay 0.01. */
  public static AdamOptions options() {
    return new AdamOptions(1e-3, 0.9, 0.999, 1e-8, 0.01);
  }
}
