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
import org.jspecify.annotations.Nullable;

/**
 * {@code condition ? a : b} for each element, with broadcasting. Inputs: condition (BOOL), a, b
 * (one type). What is not chosen gets gradient 0, even where its own gradient is not finite.
 */
public record Where() implements Differentiable {
  @Override
  public String name() {
    return "where";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec a = in.get(1);
    TensorSpec b = in.get(2);
    if (in.get(0).dtype() != DType.BOOL) {
      throw new DTypeException("the condition must be bool");
    }
    if (a.dtype() != b.dtype()) {
      throw new DTypeException("both choices must have one type");
    }
    Shape both = Shape.broadcast(a.shape(), b.shape());
    return List.of(a.with(Shape.broadcast(in.get(0).shape(), both)));
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layouts.elementwise(spec.shape(), in.subList(1, 3));
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] y = out[0].data();
    double[] condition = in[0].expand(out[0].shape()).data();
    double[] a = in[1].expand(out[0].shape()).data();
    double[] b = in[2].expand(out[0].shape()).data();
    for (int i = 0; i < y.length; i++) {
      y[i] = condition[i] != 0 ? a[i] : b[i];
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.inputs(0);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    Tensor g = c.grad(0);
    Tensor zero = Shaping.full(c.outputSpec(0).with(Shape.SCALAR), 0);
    Tensor da = null;
    if (c.needs(1)) {
      da = Num.sumTo(Num.where(c.input(0), g, zero), c.inputSpec(1).shape());
    }
    Tensor db = null;
    if (c.needs(2)) {
      db = Num.sumTo(Num.where(c.input(0), zero, g), c.inputSpec(2).shape());
    }
    return new @Nullable Tensor[] {null, da, db};
  }
}
