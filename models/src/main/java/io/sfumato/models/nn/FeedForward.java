// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.GatedUnit;
import io.sfumato.tensor.ops.NN;
import java.util.Arrays;

/**
 * The feed-forward part of a transformer block (diffusers models/attention.py, FeedForward): {@code
 * net.2(f(net.0.proj(x)))}. With a gated f the first product is twice as wide, its first half the
 * value and its second half the gate.
 */
public final class FeedForward extends Layer {
  /** The functions f, under diffusers' names ({@code activation_fn}). */
  public enum Kind {
    /** a gelu(b), with the exact error function. */
    GEGLU("geglu"),
    /** a silu(b). */
    SWIGLU("swiglu"),
    /** gelu, with the exact error function. */
    GELU("gelu"),
    /** gelu by tanh. */
    GELU_APPROXIMATE("gelu-approximate"),
    /** silu. */
    LINEAR_SILU("linear-silu");

    private final String configName;

    Kind(String configName) {
      this.configName = configName;
    }

    /** The name in configurations. */
    public String configName() {
      return configName;
    }

    /**
     * The kind of a configuration.
     *
     * @throws IllegalArgumentException if the name is unknown, listing those known
     */
    public static Kind parse(String name) {
      return Arrays.stream(values())
          .filter(k -> k.configName.equals(name))
          .findFirst()
          .orElseThrow(
              () ->
                  new IllegalArgumentException(
                      "activation_fn must be one of "
                          + Arrays.stream(values()).map(Kind::configName).toList()
                          + "; got '"
                          + name
                          + "'"));
    }

    private boolean gated() {
      return this == GEGLU || this == SWIGLU;
    }

    private Tensor apply(Tensor x) {
      return switch (this) {
        case GEGLU -> NN.gatedUnit(GatedUnit.Kind.GELU, x);
        case SWIGLU -> NN.gatedUnit(GatedUnit.Kind.SILU, x);
        case GELU -> NN.gelu(x);
        case GELU_APPROXIMATE -> NN.geluTanh(x);
        case LINEAR_SILU -> NN.silu(x);
      };
    }
  }

  private final Kind kind;
  private final Linear proj;
  private final Dropout dropout;
  private final Linear out;

  /** A layer of {@code width} with four times as many values inside, without dropout. */
  public FeedForward(Weights weights, int width, Kind kind) {
    this(weights, width, 4 * width, kind, 0);
  }

  /**
   * A layer.
   *
   * @param width of the input and the result
   * @param inner number of values between the products
   * @param kind f
   * @param dropout probability of dropout behind f while training
   */
  public FeedForward(Weights weights, int width, int inner, Kind kind, double dropout) {
    super(weights);
    this.kind = kind;
    proj = child("net.0.proj", w -> new Linear(w, width, kind.gated() ? 2 * inner : inner));
    this.dropout = child("net.1", w -> new Dropout(w, dropout));
    out = child("net.2", w -> new Linear(w, inner, width));
  }

  @Override
  protected Tensor forward(Tensor x) {
    Tensor h = kind.apply(proj.call(x)); // [..., inner]
    return out.call(dropout.call(h)); // [..., width]
  }
}
