// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.AttentionOptions;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * The place in an attention for keys and values that come before those of its tokens and that all
 * queries see: what prefix tuning trains. Neither model code nor parameter names change when
 * something is in it.
 */
public final class PrefixSlot {
  private volatile @Nullable Prefix prefix;

  /** An empty slot. */
  public PrefixSlot() {}

  /**
   * Keys and values.
   *
   * @param keys [B, H, L, D], or [H, n, D] of a prefix
   * @param values of the same shape
   */
  public record KeysAndValues(Tensor keys, Tensor values) {}

  /** What sits in the slot. */
  @FunctionalInterface
  public interface Prefix {
    /** Keys and values [H, n, D] for all samples, in the current scope; null while it is off. */
    @Nullable KeysAndValues get();
  }

  /** An attention with such a slot. */
  public interface Holder {
    /** The slot. */
    PrefixSlot prefixSlot();

    /** H, the number of heads. */
    int heads();

    /** D, the width of one head. */
    int headWidth();
  }

  /**
   * Fills the slot.
   *
   * @throws IllegalStateException if something is in it
   */
  public synchronized void attach(Prefix value) {
    if (prefix != null) {
      throw new IllegalStateException("the attention has a prefix already; take that out first");
    }
    prefix = value;
  }

  /** Empties the slot. */
  public synchronized void detach() {
    prefix = null;
  }

  /**
   * Attention of queries to the prefix, if there is one, and to keys and values.
   *
   * @param q [B, H, Lq, D]
   * @param k [B, H, Lk, D]
   * @param v [B, H, Lk, D]
   * @param visible what may be seen of the keys; all of the prefix may
   * @return [B, H, Lq, D]
   */
  public Tensor attend(Tensor q, Tensor k, Tensor v, AttentionOptions visible) {
    Prefix now = prefix;
    KeysAndValues before = now == null ? null : now.get();
    if (before == null) {
      return NN.attention(q, k, v, visible);
    }
    int n = before.keys.dim(1);
    return NN.attention(
        q,
        Shaping.concat(2, forAll(before.keys, k), k),
        Shaping.concat(2, forAll(before.values, v), v),
        widened(visible, q.dim(2), k.dim(2), n, q));
  }

  private static Tensor forAll(Tensor prefix, Tensor like) {
    Shape s = prefix.shape();
    Tensor typed = prefix.dtype() == like.dtype() ? prefix : prefix.to(like.dtype());
    return Shaping.expand(
        Shaping.unsqueeze(typed, 0), Shape.of(like.dim(0), s.dim(0), s.dim(1), s.dim(2)));
  }

  private static AttentionOptions widened(
      AttentionOptions visible, int queries, int keys, int n, Tensor like) {
    Tensor mask = visible.mask();
    if (mask != null && visible.causal()) {
      throw new IllegalArgumentException("a prefix goes with a mask or with causality, not both");
    }
    if (visible.causal()) {
      double[] seen = new double[queries * (n + keys)];
      for (int i = 0; i < queries; i++) {
        int from = i * (n + keys);
        Arrays.fill(seen, from, from + Math.min(n + keys, n + i + 1), 1);
      }
      Tensor flags = Tensor.of(seen, 1, 1, queries, n + keys).to(DType.F32).to(like.device());
      return visible.causal(false).mask(Num.gt(flags, 0));
    }
    if (mask == null) {
      return visible;
    }
    int[] dims = mask.shape().dims();
    if (dims.length == 0 || dims[dims.length - 1] != keys) {
      mask = mask.expand(withLast(dims.length == 0 ? new int[] {1} : dims, keys));
      dims = mask.shape().dims();
    }
    boolean flags = mask.dtype() == DType.BOOL;
    Shape first = Shape.of(withLast(dims, n));
    Tensor free = Tensor.zeros(mask.spec().with(flags ? DType.F32 : mask.dtype()).with(first));
    return visible.mask(Shaping.concat(-1, flags ? Num.eq(free, 0) : free, mask));
  }

  private static int[] withLast(int[] dims, int last) {
    int[] copy = dims.clone();
    copy[copy.length - 1] = last;
    return copy;
  }
}
