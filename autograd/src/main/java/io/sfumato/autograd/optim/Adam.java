// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.optim;

import io.sfumato.tensor.Parameter;
import java.util.Collection;
import java.util.List;

/**
 * Adam (Kingma and Ba 2015): {@code m = β₁m + (1-β₁)g}, {@code v = β₂v + (1-β₂)g²}, {@code p -= lr
 * m̂ / (√v̂ + ε)} with {@code m̂ = m / (1-β₁ᵗ)}, {@code v̂ = v / (1-β₂ᵗ)}. Weight decay is added to
 * the gradient. As {@code torch.optim.Adam}.
 */
public final class Adam extends AdamFamily {
  /** An optimizer of some parameters. */
  public Adam(Collection<Parameter> parameters, AdamOptions options) {
    this(List.of(ParameterGroup.of(parameters)), options);
  }

  /** An optimizer of groups. */
  public Adam(List<ParameterGroup> groups, AdamOptions options) {
    super(groups, options, false);
  }

  /** PyTorch's: learning rate 1e-3, β 0.9 and 0.999, ε 1e-8, weight decay 0. */
  public static AdamOptions options() {
    return new AdamOptions(1e-3, 0.9, 0.999, 1e-8, 0);
  }
}
