// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Philox;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Zero with probability p, else {@code x / (1 - p)} (Srivastava et al. 2014). Element i in
 * row-major order is kept when element i of the uniform draw of {@code key} is at least p, so the
 * backward is the same op again and nothing is saved.
 *
 * @param p the probability, in [0, 1]
 * @param key the key of {@link Philox}
 */
public record Dropout(double p, long key) implements Differentiable {
  @Override
  public String name() {
    return "dropout";
  }

  /** What kept elements are multiplied by; 0 if none is kept. */
  public double scale() {
    return p == 1 ? 0 : 1 / (1 - p);
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    if (!(p >= 0 && p <= 1)) {
      throw new ShapeException("the probability must be in [0, 1]; got " + p);
    }
    if (!in.getFirst().dtype().isFloating()) {
      throw new DTypeException("the input must be floating");
    }
    return List.of(in.getFirst());
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layouts.elementwise(spec.shape(), in);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] y = out[0].data();
    for (int i = 0; i < y.length; i++) {
      y[i] = Philox.uniform(key, i) >= p ? x[i] * scale() : 0;
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.NONE;
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    return new @Nullable Tensor[] {NN.dropout(c.grad(0), p, key)};
  }
}
