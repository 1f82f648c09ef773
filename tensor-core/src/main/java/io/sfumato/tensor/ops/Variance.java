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
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Variance, or standard deviation, over axes: {@code Σ (x - mean)² / max(0, n - correction)}. The
 * gradient of a standard deviation that is 0 is 0.
 *
 * @param axes the axes, negative ones from the end; none for all
 * @param correction 1 for the unbiased estimate, 0 for the biased one
 * @param keepDims whether reduced axes stay with size 1
 * @param root whether to take the square root
 */
public record Variance(List<Integer> axes, int correction, boolean keepDims, boolean root)
    implements Differentiable {
  @Override
  public String name() {
    return root ? "std" : "var";
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
    long n = Reductions.count(in[0].shape(), axes);
    double[] mean = new double[y.length];
    Reductions.forEach(in[0], axes, (i, o) -> mean[o] += x[i] / n);
    Reductions.forEach(in[0], axes, (i, o) -> y[o] += (x[i] - mean[o]) * (x[i] - mean[o]));
    for (int o = 0; o < y.length; o++) {
      double variance = y[o] / Math.max(0, n - correction);
      y[o] = root ? Math.sqrt(variance) : variance;
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return root ? Saved.inputs(0).andOutputs(0) : Saved.inputs(0);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    Tensor x = c.input(0);
    double n = Math.max(0, Reductions.count(x.shape(), axes) - correction);
    Tensor g = c.grad(0);
    if (root) {
      Tensor y = c.output(0);
      Tensor zero = Shaping.full(c.outputSpec(0).with(Shape.SCALAR), 0);
      g = Num.where(Num.eq(y, 0), zero, g.div(y));
    } else {
      g = g.mul(2);
    }
    g = Reductions.keep(g.div(n), x.shape(), axes);
    Tensor centred = x.sub(Num.mean(x, true, Reductions.array(axes)));
    return new @Nullable Tensor[] {centred.mul(g)};
  }
}
