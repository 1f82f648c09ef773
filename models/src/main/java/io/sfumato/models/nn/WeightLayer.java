// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** A layer that multiplies by a weight, with a slot for an {@link Adapter}. */
public abstract class WeightLayer extends Layer {
  private volatile @Nullable Adapter adapter;

  /** A layer whose parameters come from {@code weights}. */
  protected WeightLayer(Weights weights) {
    super(weights);
  }

  /** The weight, in PyTorch's layout. */
  public abstract Parameter weight();

  /** The bias, if there is one. */
  public abstract Optional<Parameter> bias();

  /** The layer without adapter. */
  protected abstract Tensor base(Tensor x);

  /** What is in the slot, if anything. */
  public final Optional<Adapter> adapter() {
    return Optional.ofNullable(adapter);
  }

  /**
   * Fills the slot.
   *
   * @throws IllegalStateException if it is taken
   */
  public final void attach(Adapter newAdapter) {
    if (adapter != null) {
      throw new IllegalStateException(path() + " has an adapter already; detach it first");
    }
    adapter = newAdapter;
  }

  /** Empties the slot; an empty slot stays empty. */
  public final void detach() {
    adapter = null;
  }

  @Override
  protected final Tensor forward(Tensor x) {
    Adapter a = adapter;
    return a == null ? base(x) : a.apply(this, x, this::base);
  }
}
