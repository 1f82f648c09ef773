// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Op;
import java.util.List;
import java.util.Locale;

/**
 * Comparison of two tensors of one type, with broadcasting; the result is BOOL, which has no
 * gradient. With NaN every comparison is false, but {@link Kind#NE}.
 *
 * @param kind which
 */
public record Compare(Kind kind) implements Op {
  /** The comparisons. */
  public enum Kind {
    /** a = b. */
    EQ,
    /** a ≠ b. */
    NE,
    /** a &lt; b. */
    LT,
    /** a ≤ b. */
    LE,
    /** a &gt; b. */
    GT,
    /** a ≥ b. */
    GE;

    /** Whether it holds. */
    public boolean test(double a, double b) {
      return switch (this) {
        case EQ -> a == b;
        case NE -> a != b;
        case LT -> a < b;
        case LE -> a <= b;
        case GT -> a > b;
        case GE -> a >= b;
      };
    }
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
    return List.of(a.with(Shape.broadcast(a.shape(), b.shape())).with(DType.BOOL));
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
      y[i] = kind.test(a[i], b[i]) ? 1 : 0;
    }
  }
}
