// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Composite;
import io.sfumato.tensor.exec.Dense;
import java.util.List;
import java.util.Locale;

/**
 * Gradients of {@link GatedUnit}: {@code da = dy f(b)}, {@code db = dy a f'(b)}. Inputs: x [..., 2
 * D], dy [..., D]; output: dx [..., 2 D].
 *
 * @param kind which f
 */
public record GatedUnitBackward(GatedUnit.Kind kind) implements Composite {
  @Override
  public String name() {
    return "gated_unit_" + kind.name().toLowerCase(Locale.ROOT) + "_backward";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.getFirst();
    TensorSpec y = new GatedUnit(kind).infer(in.subList(0, 1)).getFirst();
    if (!in.get(1).shape().equals(y.shape())) {
      throw new ShapeException("the gradient must have shape " + y.shape());
    }
    if (in.get(1).dtype() != x.dtype()) {
      throw new DTypeException("input and gradient must have one type");
    }
    return List.of(x);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] dy = in[1].data();
    double[] dx = out[0].data();
    int d = in[1].dim(-1);
    for (int i = 0; i < dy.length; i++) {
      int a = i / d * 2 * d + i % d;
      dx[a] = dy[i] * kind.function().apply(x[a + d]);
      dx[a + d] = dy[i] * x[a] * kind.slope().derivative(x[a + d]);
    }
  }

  @Override
  public Tensor[] compose(Tensor[] in) {
    List<Tensor> halves = Shaping.chunk(in[0], 2, -1);
    Tensor da = in[1].mul(Num.unary(kind.function(), halves.get(1)));
    Tensor db = Num.unaryBackward(kind.slope(), halves.get(1), in[1].mul(halves.get(0)));
    return new Tensor[] {Shaping.concat(-1, da, db)};
  }
}
