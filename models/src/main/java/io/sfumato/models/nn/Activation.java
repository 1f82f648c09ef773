// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.NN;
import java.util.Locale;

/** The activations that model configurations name ({@code act_fn}). */
public enum Activation {
  /** x sigmoid(x). */
  SILU,
  /** The same as SILU, under its other name. */
  SWISH,
  /** x Φ(x), with the exact error function. */
  GELU,
  /** max(x, 0). */
  RELU,
  /** x tanh(ln(1 + eˣ)). */
  MISH,
  /** The hyperbolic tangent. */
  TANH;

  /**
   * The activation of a configuration.
   *
   * @throws IllegalArgumentException if the name is unknown, listing those known
   */
  public static Activation parse(String name) {
    try {
      return valueOf(name.toUpperCase(Locale.ROOT));
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(
          "act_fn must be one of silu, swish, gelu, relu, mish, tanh; got '" + name + "'", e);
    }
  }

  /** Whether this is SiLU under either name. */
  public boolean isSilu() {
    return this == SILU || this == SWISH;
  }

  /** The name in configurations. */
  public String configName() {
    return name().toLowerCase(Locale.ROOT);
  }

  /** The activation of {@code x}. */
  public Tensor apply(Tensor x) {
    return switch (this) {
      case SILU, SWISH -> NN.silu(x);
      case GELU -> NN.gelu(x);
      case RELU -> NN.relu(x);
      case TANH -> io.sfumato.tensor.ops.Num.tanh(x);
      case MISH -> x.mul(io.sfumato.tensor.ops.Num.tanh(NN.softplus(x)));
    };
  }

  /** Group normalisation followed by this activation, fused where there is a kernel for it. */
  public Tensor afterNorm(GroupNorm norm, Tensor x) {
    return isSilu() ? norm.callSilu(x) : apply(norm.call(x));
  }
}
