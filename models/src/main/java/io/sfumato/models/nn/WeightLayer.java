// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * A layer that is defined by a weight and perhaps a bias, with a slot for {@link Adapter}s. Several
 * adapters act in the order in which they were attached: each sees the layer with those before it.
 */
public abstract class WeightLayer extends Layer {
  private final UnaryOperator<Tensor> base = this::plain;
  private volatile List<Adapter> adapters = List.of();

  /** A layer whose parameters come from {@code weights}. */
  protected WeightLayer(Weights weights) {
    super(weights);
  }

  /** The weight, in PyTorch's layout. */
  public abstract Parameter weight();

  /** The bias, if there is one. */
  public abstract Optional<Parameter> bias();

  /**
   * The layer's formula, with a weight and bias that need not be its own.
   *
   * @param x the input
   * @param weight of the shape of {@link #weight}
   * @param bias of the shape of {@link #bias}, or null for none
   */
  public abstract Tensor compute(Tensor x, Tensor weight, @Nullable Tensor bias);

  /** The layer without adapters. */
  protected Tensor plain(Tensor x) {
    return compute(x, weight().value(), bias().map(Parameter::value).orElse(null));
  }

  /** What is in the slot, in the order of attachment. */
  public final List<Adapter> adapters() {
    return adapters;
  }

  /**
   * Whether {@code computation} is this layer without any adapter, so that an adapter may fuse its
   * own part with it.
   */
  public final boolean isBase(UnaryOperator<Tensor> computation) {
    return computation == base;
  }

  /** Puts an adapter into the slot, after those that are in it. */
  public final synchronized void attach(Adapter adapter) {
    List<Adapter> more = new ArrayList<>(adapters);
    more.add(adapter);
    adapters = List.copyOf(more);
  }

  /**
   * Takes an adapter out of the slot.
   *
   * @throws IllegalStateException if it is not in it
   */
  public final synchronized void detach(Adapter adapter) {
    List<Adapter> fewer = new ArrayList<>(adapters);
    if (!fewer.remove(adapter)) {
      throw new IllegalStateException("the adapter is not attached to " + path());
    }
    adapters = List.copyOf(fewer);
  }

  @Override
  protected final Tensor forward(Tensor x) {
    UnaryOperator<Tensor> computation = base;
    for (Adapter adapter : adapters) {
      UnaryOperator<Tensor> before = computation;
      computation = in -> adapter.apply(this, in, before);
    }
    return computation.apply(x);
  }
}
