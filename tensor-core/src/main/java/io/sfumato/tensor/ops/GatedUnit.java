// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * {@code y = a f(b)} with the halves a, b of the last axis (Shazeer 2020, "GLU variants improve
 * Transformer"). Input: [..., 2 D]; output: [..., D].
 *
 * @param kind which f
 */
public record GatedUnit(Kind kind) implements Differentiable {
  /** The functions of the gate. */
  public enum Kind {
    /** GEGLU, with {@link Unary.Kind#GELU}. */
    GELU(Unary.Kind.GELU, UnaryBackward.Kind.GELU),
    /** GEGLU, with {@link Unary.Kind#GELU_TANH}. */
    GELU_TANH(Unary.Kind.GELU_TANH, UnaryBackward.Kind.GELU_TANH),
    /** SwiGLU, with {@link Unary.Kind#SILU}. */
    SILU(Unary.Kind.SILU, UnaryBackward.Kind.SILU);

    private final Unary.Kind function;
    private final UnaryBackward.Kind slope;

    Kind(Unary.Kind function, UnaryBackward.Kind slope) {
      this.function = function;
      this.slope = slope;
    }

    /** f. */
    public Unary.Kind function() {
      return function;
    }

    /** f', of what f was given. */
    public UnaryBackward.Kind slope() {
      return slope;
    }
  }

  @Override
  public String name() {
    return "gated_unit_" + kind.name().toLowerCase(Locale.ROOT);
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.getFirst();
    if (!x.dtype().isFloating()) {
      throw new DTypeException("the input must be floating");
    }
    if (x.shape().rank() == 0 || x.shape().dim(-1) % 2 != 0) {
      throw new ShapeException("the last dimension must be even");
    }
    return List.of(x.with(x.shape().with(-1, x.shape().dim(-1) / 2)));
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] y = out[0].data();
    int d = out[0].dim(-1);
    for (int i = 0; i < y.length; i++) {
      int a = i / d * 2 * d + i % d;
      y[i] = x[a] * kind.function.apply(x[a + d]);
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.inputs(0);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    return new @Nullable Tensor[] {
      Executor.run(new GatedUnitBackward(kind), c.input(0), c.grad(0))
    };
  }
}
