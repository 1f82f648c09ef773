// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.BatchwiseOp;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import io.sfumato.tensor.exec.StridedLoop;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Sums away what broadcasting added: the adjoint of {@link Expand}.
 *
 * @param target the shape to reduce to; it must broadcast to the input's
 */
public record SumTo(Shape target) implements Differentiable, BatchwiseOp {
  @Override
  public String name() {
    return "sum_to";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.getFirst();
    if (!target.broadcastsTo(x.shape())) {
      throw new ShapeException("target " + target + " must broadcast to the input's shape");
    }
    return List.of(x.with(target));
  }

  @Override
  public boolean isBatchwise(Shape first) {
    return target.rank() < first.rank() || (first.rank() > 0 && target.dim(0) < first.dim(0));
  }

  @Override
  public boolean isSummed(int output) {
    return true;
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] y = out[0].data();
    int[] k = {0};
    StridedLoop.forEach(
        Layout.contiguous(target).expand(in[0].shape()), p -> y[(int) p] += x[k[0]++]);
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.NONE;
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    return new @Nullable Tensor[] {Shaping.expand(c.grad(0), c.inputSpec(0).shape())};
  }
}
