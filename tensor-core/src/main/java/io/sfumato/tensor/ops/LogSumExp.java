// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * {@code log Σ e^x} over axes, without overflow; -∞ over no elements.
 *
 * @param axes the axes, negative ones from the end; none for all
 * @param keepDims whether reduced axes stay with size 1
 */
public record LogSumExp(List<Integer> axes, boolean keepDims) implements Differentiable {
  @Override
  public String name() {
    return "logsumexp";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.getFirst();
    if (!x.dtype().isFloating()) {
      throw new DTypeException("the input must be floating; cast it first");
    }
    return List.of(x.with(Reductions.shape(x.shape(), axes, keepDims)));
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] y = out[0].data();
    double[] max = new double[y.length];
    Arrays.fill(max, Double.NEGATIVE_INFINITY);
    Reductions.forEach(in[0], axes, (i, o) -> max[o] = Math.max(max[o], x[i]));
    for (int o = 0; o < max.length; o++) {
      max[o] = Double.isInfinite(max[o]) ? 0 : max[o];
    }
    Reductions.forEach(in[0], axes, (i, o) -> y[o] += Math.exp(x[i] - max[o]));
    for (int o = 0; o < y.length; o++) {
      y[o] = Math.log(y[o]) + max[o];
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.inputs(0).andOutputs(0);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    Tensor x = c.input(0);
    Tensor y = c.output(0);
    Tensor zero = Shaping.full(c.outputSpec(0).with(Shape.SCALAR), 0);
    Tensor finite = Num.where(Num.eq(y, Double.NEGATIVE_INFINITY), zero, y); // -∞ - -∞ is NaN
    Tensor share = Num.exp(x.sub(Reductions.keep(finite, x.shape(), axes)));
    return new @Nullable Tensor[] {share.mul(Reductions.keep(c.grad(0), x.shape(), axes))};
  }
}
