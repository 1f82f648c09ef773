// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What cross-attention looks at: the states of a text encoder, say, and which of them may be seen.
 *
 * <p>The keys and values of a context do not depend on the picture. In a sampling run {@link
 * #prepare} computes them once for all steps:
 *
 * {@snippet :
 * Context context = Context.of(states).prepare(unet);
 * for (double t : timesteps) {
 *   Tensor noise = unet.call(x, t, context);
 * }
 * }
 */
public final class Context {
  private final Tensor states;
  private final @Nullable Tensor mask;
  private final Map<Attention, List<Tensor>> known;
  private final @Nullable Module owner;

  private Context(
      Tensor states,
      @Nullable Tensor mask,
      Map<Attention, List<Tensor>> known,
      @Nullable Module owner) {
    this.states = states;
    this.mask = mask;
    this.known = known;
    this.owner = owner;
  }

  /**
   * A context that may be seen as a whole.
   *
   * @param states [B, L, D]
   */
  public static Context of(Tensor states) {
    return of(states, null);
  }

  /**
   * A context of which a part may be seen. As in diffusers, scores of hidden states are lowered by
   * 10000, so that a sample with nothing but hidden states sees all of them alike.
   *
   * @param states [B, L, D]
   * @param keep [B, L], BOOL or integer, true or 1 where a state may be seen, as tokenizers give
   *     it; null for all. What is made of it belongs to the current scope
   * @throws ShapeException if states or mask have other shapes
   * @throws DTypeException if the mask is floating, which might mean scores
   */
  public static Context of(Tensor states, @Nullable Tensor keep) {
    if (states.rank() != 3) {
      throw new ShapeException("Context: states must be [B, L, D]; got " + states.spec());
    }
    if (keep == null) {
      return new Context(states, null, Map.of(), null);
    }
    int b = states.dim(0);
    int l = states.dim(1);
    if (keep.rank() != 2 || keep.dim(0) != b || keep.dim(1) != l) {
      throw new ShapeException(
          "Context: the mask must be [B, L] = [" + b + ", " + l + "]; got " + keep.spec());
    }
    if (keep.dtype().isFloating()) {
      throw new DTypeException(
          "Context: the mask must be BOOL or integer, 1 where a state may be seen; got "
              + keep.spec());
    }
    Tensor mask = Scope.run(() -> Num.cast(keep, states.dtype()).sub(1).mul(10000));
    return new Context(states, mask.reshape(b, 1, 1, l), Map.of(), null);
  }

  /**
   * The same context with the keys and values of all cross-attentions below {@code model} that take
   * its width. They belong to the current scope, and hold as long as weights and adapters stay as
   * they are.
   */
  public Context prepare(Module model) {
    Map<Attention, List<Tensor>> computed = new IdentityHashMap<>();
    for (Module module : model.modules().values()) {
      if (module instanceof Attention a && a.takesContext(states.dim(2))) {
        computed.put(a, a.keysAndValues(states));
      }
    }
    return new Context(states, mask, computed, model);
  }

  /** The same with other states of the same length, and nothing computed yet. */
  public Context withStates(Tensor other) {
    if (other.rank() != 3
        || other.dim(0) != states.dim(0)
        || (mask != null && other.dim(1) != states.dim(1))) {
      throw new ShapeException(
          "Context: states must stay [B, L, D] of the same B and L; got "
              + other.spec()
              + " for "
              + states.spec());
    }
    return new Context(other, mask, Map.of(), null);
  }

  /**
   * Whether keys and values were computed for this model.
   *
   * @throws IllegalArgumentException if they were computed for another one
   */
  public boolean isPreparedFor(Module model) {
    if (owner != null && owner != model) {
      throw new IllegalArgumentException(
          "this context was prepared for another model; prepare one for each");
    }
    return owner != null;
  }

  /** The states [B, L, D]. */
  public Tensor states() {
    return states;
  }

  /** What is added to the scores, [B, 1, 1, L], or null. */
  @Nullable Tensor attentionMask() {
    return mask;
  }

  /** Keys and values by a layer: [B, H, L, D] both. */
  List<Tensor> by(Attention layer) {
    List<Tensor> result = known.get(layer);
    return result != null ? result : layer.keysAndValues(states);
  }
}
