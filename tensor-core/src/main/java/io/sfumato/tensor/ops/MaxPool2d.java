// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Shape;
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
 * The largest element of each window (NaN if there is one), and its position {@code row W + column}
 * in the input plane as I64, the first of equals. Windows begin every {@code stride} elements,
 * {@code padding} before the first, and take every {@code dilation}-th element; padding is never
 * chosen. Output size {@code floor((in + 2 padding - dilation (kernel - 1) - 1) / stride) + 1}.
 *
 * @param kernel height and width of a window
 * @param stride distances of the windows
 * @param padding added on both sides of each axis, at most half of the window
 * @param dilation distances of the elements of a window
 */
public record MaxPool2d(
    List<Integer> kernel, List<Integer> stride, List<Integer> padding, List<Integer> dilation)
    implements Differentiable {
  @Override
  public String name() {
    return "max_pool2d";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    TensorSpec x = in.getFirst();
    Shape shape = x.shape();
    if (shape.rank() != 4) {
      throw new ShapeException("the input must have 4 dimensions, N, C, H, W");
    }
    if (!x.dtype().isFloating()) {
      throw new DTypeException("the input must be floating");
    }
    for (int k = 0; k < 2; k++) {
      int size =
          Windows.outputSize(
              shape.dim(2 + k), kernel.get(k), stride.get(k), padding.get(k), dilation.get(k));
      shape = shape.with(2 + k, size);
    }
    return List.of(x.with(shape), x.with(shape).with(DType.I64));
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layouts.channelsLastKept(spec.shape(), in);
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    int h = in[0].dim(2);
    int w = in[0].dim(3);
    int columns = out[0].dim(3);
    int plane = out[0].dim(2) * columns;
    for (int i = 0; i < out[0].numel(); i++) {
      int base = i / plane * h * w;
      int top = i % plane / columns * stride.get(0) - padding.get(0);
      int left = i % columns * stride.get(1) - padding.get(1);
      int best = -1;
      for (int a = 0; a < kernel.get(0); a++) {
        for (int b = 0; b < kernel.get(1); b++) {
          int row = top + a * dilation.get(0);
          int column = left + b * dilation.get(1);
          if (row >= 0 && row < h && column >= 0 && column < w) {
            int at = row * w + column;
            if (best < 0 || beats(in[0].data()[base + at], in[0].data()[base + best])) {
              best = at;
            }
          }
        }
      }
      out[0].data()[i] = in[0].data()[base + best];
      out[1].data()[i] = best;
    }
  }

  /** Whether a later element replaces the one found before. */
  public static boolean beats(double later, double before) {
    return later > before || (Double.isNaN(later) && !Double.isNaN(before));
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.outputs(1);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    Shape x = c.inputSpec(0).shape();
    Shape y = c.outputSpec(0).shape();
    Shape from = Shape.of(y.dim(0), y.dim(1), y.dim(2) * y.dim(3));
    Shape to = Shape.of(x.dim(0), x.dim(1), x.dim(2) * x.dim(3));
    Tensor planes =
        Shaping.scatterAdd(
            Shaping.full(c.inputSpec(0).with(to), 0),
            2,
            Shaping.reshape(c.output(1), from),
            Shaping.reshape(c.grad(0), from));
    return new @Nullable Tensor[] {Shaping.reshape(planes, x)};
  }
}
