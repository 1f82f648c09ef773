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
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The adjoint of {@link Conv2d} in its input, which is also the transposed convolution: inputs g
 * [N, out, ...] and weight [out, in/groups, kh, kw]; output [N, in, H, W], channels-last in memory.
 *
 * @param options those of the convolution
 * @param size the spatial sizes H, W of the output
 */
public record Conv2dBackwardInput(ConvOptions options, List<Integer> size)
    implements Differentiable {
  @Override
  public String name() {
    return "conv2d_backward_input";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    Require.oneFloatingType(in);
    Shape g = in.get(0).shape();
    Shape w = in.get(1).shape();
    if (g.rank() != 4 || w.rank() != 4 || g.dim(1) != w.dim(0)) {
      throw new ShapeException(
          "inputs must have shapes [N, out, ...] and [out, in/groups, kh, kw] with equal out");
    }
    List<Integer> dims = new ArrayList<>(List.of(g.dim(0), w.dim(1) * options.groups()));
    dims.addAll(size);
    Shape x = Shape.of(dims.stream().mapToInt(Integer::intValue).toArray());
    Require.shape(in.getFirst(), ConvRules.output(2, x, w, options), "gradient", "of the output");
    return List.of(in.getFirst().with(x));
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layout.channelsLast(spec.shape());
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    ConvRules.backwardInput(in[0], in[1], out[0], options);
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.inputsIf(new int[] {0, 1}, needs[1], needs[0]);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    Tensor d = c.grad(0);
    List<Integer> kernel = ConvRules.spatial(c.inputSpec(1).shape());
    return new @Nullable Tensor[] {
      c.needs(0) ? NN.conv2d(d, c.input(1), null, options) : null,
      c.needs(1) ? Convolutions.backwardWeight2d(c.input(0), d, options, kernel) : null
    };
  }
}
