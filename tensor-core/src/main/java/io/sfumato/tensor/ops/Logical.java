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
 * Logic on BOOL tensors, with broadcasting. Inputs: a, b; a alone for {@link Kind#NOT}.
 *
 * @param kind which
 */
public record Logical(Kind kind) implements Op {
  /** The operations. */
  public enum Kind {
    /** a ∧ b. */
    AND,
    /** a ∨ b. */
    OR,
    /** a ≠ b. */
    XOR,
    /** ¬a. */
    NOT
  }

  @Override
  public String name() {
    return "logical_" + kind.name().toLowerCase(Locale.ROOT);
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    for (TensorSpec x : in) {
      if (x.dtype() != DType.BOOL) {
        throw new DTypeException("operands must be bool; compare them with 0 first");
      }
    }
    TensorSpec a = in.getFirst();
    return List.of(a.with(Shape.broadcast(a.shape(), in.getLast().shape())));
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layouts.elementwise(spec.shape(), in);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] y = out[0].data();
    double[] a = in[0].expand(out[0].shape()).data();
    double[] b = in[in.length - 1].expand(out[0].shape()).data();
    for (int i = 0; i < y.length; i++) {
      y[i] =
          switch (kind) {
            case AND -> a[i] * b[i];
            case OR -> Math.max(a[i], b[i]);
            case XOR -> Math.abs(a[i] - b[i]);
            case NOT -> 1 - a[i];
          };
    }
  }
}
