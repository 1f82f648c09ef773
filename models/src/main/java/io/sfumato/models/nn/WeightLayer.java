// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.CodedTensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * A layer that is defined by a weight and perhaps a bias, with a slot for {@link Adapter}s. Several
 * adapters act in the order in which they were attached: each sees the layer with those before it.
 *
 * <p>The weight may be replaced by codes in few bits, {@link #quantize}; the layer and its adapters
 * work on.
 */
public abstract class WeightLayer extends Layer {
  private final UnaryOperator<Tensor> base = this::plain;
  private volatile List<Adapter> adapters = List.of();
  private volatile @Nullable QuantizedWeight quantized;
  private volatile @Nullable Parameter restored;

  /** A layer whose parameters come from {@code weights}. */
  protected WeightLayer(Weights weights) {
    super(weights);
  }

  /**
   * The weight, in PyTorch's layout. That of a quantised layer has a shape, a type and a device,
   * but no values: see {@link #weightValues}.
   */
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
    return own(x, bias().map(Parameter::value).orElse(null));
  }

  private Tensor own(Tensor x, @Nullable Tensor bias) {
    QuantizedWeight codes = quantized;
    if (codes == null) {
      return compute(x, weight().value(), bias);
    }
    Tensor y = computeCoded(codes.toCompute(x), codes.coded(), bias);
    return y.to(x.dtype());
  }

  /** The layer without adapters and without bias. */
  public final Tensor product(Tensor x) {
    return own(x, null);
  }

  // ---- a weight in few bits

  /**
   * Why the weight cannot be coded in few bits.
   *
   * @return the reason in words, or null if it can
   */
  public @Nullable String refusesQuantization() {
    return "only Linear and Conv2d can be quantized";
  }

  /** As {@link #compute} with a coded weight. */
  protected Tensor computeCoded(Tensor x, CodedTensor weight, @Nullable Tensor bias) {
    throw new IllegalStateException(path() + ": " + refusesQuantization());
  }

  /** The weight in codes, if the layer is quantised. */
  public final Optional<QuantizedWeight> quantized() {
    return Optional.ofNullable(quantized);
  }

  /** The values of the weight: its own, or decoded ones in the current scope. */
  public final Tensor weightValues() {
    QuantizedWeight codes = quantized;
    return codes == null ? weight().value() : codes.values();
  }

  /**
   * Replaces the weight by codes, which become this layer's to close; the weight's memory is free
   * then.
   *
   * @throws IllegalArgumentException if they are of another shape, or the layer takes none
   * @throws IllegalStateException if the layer is quantised already
   */
  public final synchronized void quantize(QuantizedWeight codes) {
    String reason = refusesQuantization();
    if (reason == null && !codes.coded().coding().shape().equals(weight().value().shape())) {
      reason =
          "the weight has shape "
              + weight().value().shape()
              + ", the codes "
              + codes.coded().coding().shape();
    }
    if (reason != null) {
      throw new IllegalArgumentException(path() + ": " + reason);
    }
    if (quantized != null) {
      throw new IllegalStateException(path() + ": is quantized already");
    }
    retire("weight");
    adopt(codes.buffers());
    quantized = codes;
    restored = null;
  }

  /**
   * Replaces the codes by decoded values.
   *
   * @return the codes, which are the caller's now
   * @throws IllegalStateException if the layer is not quantised
   */
  public final synchronized QuantizedWeight dequantize() {
    QuantizedWeight codes = quantized;
    if (codes == null) {
      throw new IllegalStateException(path() + ": is not quantized");
    }
    try (Scope scope = Scope.open()) {
      Parameter values = new Parameter(codes.placeholder().name(), codes.values());
      release(codes.buffers());
      reinstate("weight", values);
      restored = values;
      quantized = null;
      return codes;
    }
  }

  /** What {@link #weight} gives for the weight that the layer was made with. */
  final Parameter current(Parameter first) {
    QuantizedWeight codes = quantized;
    Parameter values = restored;
    return codes != null ? codes.placeholder() : values != null ? values : first;
  }

  // ---- adapters

  /** What is in the slot, in the order of attachment. */
  public final List<Adapter> adapters() {
    return adapters;
  }

  /**
   * Whether {@code computation} is this layer without any adapter, so that an adapter may fuse its
   * own part with it. Nothing can be fused with a coded weight.
   */
  public final boolean isBase(UnaryOperator<Tensor> computation) {
    return isFirst(computation) && quantized == null;
  }

  /** Whether {@code computation} is this layer without any adapter, quantised or not. */
  public final boolean isFirst(UnaryOperator<Tensor> computation) {
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

  @Override
  public void close() {
    QuantizedWeight codes = quantized;
    if (codes != null) {
      codes.close();
    }
    super.close();
  }
}
