// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * {@code y = f (x₀ + x₁ + …) / n} of the x that each of n shares of a batch has. Every share has
 * the same y, so the gradient of all shares' results by one's x is f times the mean of those by y:
 * the op is its own backward. Means are taken in f64 on the host; it is meant for small tensors.
 *
 * @param means gives those of all shares
 * @param factor f
 */
record MeanOfShares(BatchShare.Means means, double factor) implements Differentiable {
  @Override
  public String name() {
    return "mean_of_shares";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    if (!in.getFirst().dtype().isFloating()) {
      throw new DTypeException("the values must be floating");
    }
    return in;
  }

  @Override
  public boolean mayCast(int input) {
    return false;
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] mean = means.mean(in[0].data());
    for (int i = 0; i < mean.length; i++) {
      out[0].data()[i] = factor * mean[i];
    }
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.NONE;
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    return new @Nullable Tensor[] {Executor.run(this, c.grad(0))};
  }
}
