// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.io.Weights;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A normalisation whose result is multiplied by a weight and shifted by a bias, unless it was built
 * without them. Adapters that are made for matrices leave it out; see {@link #isAffine}.
 */
public abstract sealed class Norm extends WeightLayer permits GroupNorm, LayerNorm {
  /** A layer whose parameters come from {@code weights}. */
  protected Norm(Weights weights) {
    super(weights);
  }

  /** The weight, or null. */
  abstract @Nullable Parameter scale();

  /** The bias, or null. */
  abstract @Nullable Parameter shift();

  /** Whether there are a weight and a bias. */
  public final boolean isAffine() {
    return scale() != null;
  }

  /**
   * The weight, one number per channel.
   *
   * @throws IllegalStateException if there is none
   */
  @Override
  public final Parameter weight() {
    Parameter scale = scale();
    if (scale == null) {
      throw new IllegalStateException(path() + ": the normalisation has no weight");
    }
    return scale;
  }

  @Override
  public final Optional<Parameter> bias() {
    return Optional.ofNullable(shift());
  }
}
