// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * Elementwise operations on two tensors of one type, with broadcasting.
 *
 * @param kind which
 */
public record Binary(Kind kind) implements Differentiable {
  /** The operations. */
  public enum Kind {
    /** a + b. */
    ADD,
    /** a - b. */
    SUB,
    /** a b. */
    MUL,
    /** a / b. */
    DIV,
    /** a to the power b. */
    POW,
    /** The larger; NaN if either is NaN. Ties share the gradient equally. */
    MAXIMUM,
    /** The smaller; NaN if either is NaN. Ties share the gradient equally. */
    MINIMUM
  }

  @Override
  public String name() {
    return kind.name().toLowerCase(Locale.ROOT);
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec a = in.get(0);
    TensorSpec b = in.get(1);
    if (a.dtype() != b.dtype()) {
      throw new DTypeException("operands must have one type");
    }
    if (a.dtype() == DType.BOOL || (kind == Kind.DIV && !a.dtype().isFloating())) {
      throw new DTypeException("operands must be " + (kind == Kind.DIV ? "floating" : "numbers"));
    }
    return List.of(a.with(Shape.broadcast(a.shape(), b.shape())));
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layouts.elementwise(spec.shape(), in);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] y = out[0].data();
    double[] a = in[0].expand(out[0].shape()).data();
    double[] b = in[1].expand(out[0].shape()).data();
    for (int i = 0; i < y.length; i++) {
      y[i] =
          switch (kind) {
            case ADD -> a[i] + b[i];
            case SUB -> a[i] - b[i];
            case MUL -> a[i] * b[i];
            case DIV -> a[i] / b[i];
            case POW -> Math.pow(a[i], b[i]);
            case MAXIMUM -> Math.max(a[i], b[i]);
            case MINIMUM -> Math.min(a[i], b[i]);
          };
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return switch (kind) {
      case ADD, SUB -> Saved.NONE;
      case MUL -> Saved.inputsIf(new int[] {0, 1}, needs[1], needs[0]);
      case DIV -> Saved.inputsIf(new int[] {0, 1}, needs[1], true);
      case POW, MAXIMUM, MINIMUM -> Saved.inputs(0, 1);
    };
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    Tensor g = c.grad(0);
    Tensor da = c.needs(0) ? Num.sumTo(gradA(c, g), c.inputSpec(0).shape()) : null;
    Tensor db = c.needs(1) ? Num.sumTo(gradB(c, g), c.inputSpec(1).shape()) : null;
    return new @Nullable Tensor[] {da, db};
  }

  private Tensor gradA(Backward c, Tensor g) {
    return switch (kind) {
      case ADD, SUB -> g;
      case MUL -> g.mul(c.input(1));
      case DIV -> g.div(c.input(1));
      // d(a^b)/da = b a^(b-1)
      case POW -> g.mul(c.input(1).mul(Num.pow(c.input(0), c.input(1).sub(1))));
      case MAXIMUM -> g.mul(share(c.input(0), c.input(1)));
      case MINIMUM -> g.mul(share(c.input(1), c.input(0)));
    };
  }

  private Tensor gradB(Backward c, Tensor g) {
    return switch (kind) {
      case ADD -> g;
      case SUB -> g.neg();
      case MUL -> g.mul(c.input(0));
      case DIV -> g.mul(c.input(0)).div(c.input(1).mul(c.input(1))).neg();
      // d(a^b)/db = a^b ln a
      case POW -> g.mul(Num.pow(c.input(0), c.input(1)).mul(Num.log(c.input(0))));
      case MAXIMUM -> g.mul(share(c.input(1), c.input(0)));
      case MINIMUM -> g.mul(share(c.input(0), c.input(1)));
    };
  }

  /** 1 where a > b, 1/2 where equal, else 0. */
  private static Tensor share(Tensor a, Tensor b) {
    Tensor above = Num.cast(Num.gt(a, b), a.dtype());
    Tensor equal = Num.cast(Num.eq(a, b), a.dtype());
    return above.add(equal.mul(0.5));
  }
}
