// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import io.sfumato.tensor.exec.StridedLoop;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Zeros with the input at a slice of them: the adjoint of {@link Slice}.
 *
 * @param axis the axis
 * @param start first index of the slice, not negative
 * @param end one past its last index
 * @param step distance of its indices, at least 1
 * @param size the size of the axis in the result
 */
public record SliceScatter(int axis, int start, int end, int step, int size)
    implements Differentiable {
  @Override
  public String name() {
    return "slice_scatter";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.getFirst();
    Shape shape = x.shape().with(axis, size);
    Shape slice = Layout.contiguous(shape).slice(axis, start, end, step).shape();
    if (!slice.equals(x.shape())) {
      throw new ShapeException(
          "the input must have the shape of the slice, " + slice + ", of zeros " + shape);
    }
    return List.of(x.with(shape));
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layouts.channelsLastKept(spec.shape(), in);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] x = in[0].data();
    double[] y = out[0].data();
    int[] k = {0};
    StridedLoop.forEach(
        Layout.contiguous(out[0].shape()).slice(axis, start, end, step),
        p -> y[(int) p] = x[k[0]++]);
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.NONE;
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    return new @Nullable Tensor[] {Shaping.slice(c.grad(0), axis, start, end, step)};
  }
}
