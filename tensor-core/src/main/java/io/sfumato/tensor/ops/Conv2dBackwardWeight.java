// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

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
 * The adjoint of {@link Conv2d} in its weight: inputs g [N, out, ...] and x [N, in, H, W]; output
 * [out, in/groups, kh, kw], row-major.
 *
 * @param options those of the convolution
 * @param kernel the sizes kh, kw of the kernel
 */
public record Conv2dBackwardWeight(ConvOptions options, List<Integer> kernel)
    implements Differentiable {
  @Override
  public String name() {
    return "conv2d_backward_weight";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    Require.oneFloatingType(in);
    Shape g = in.get(0).shape();
    Shape x = in.get(1).shape();
    if (g.rank() != 4 || x.rank() != 4 || x.dim(1) % options.groups() != 0) {
      throw new ShapeException(
          "inputs must have shapes [N, out, ...] and [N, in, H, W] with in divisible by groups");
    }
    List<Integer> dims = new ArrayList<>(List.of(g.dim(1), x.dim(1) / options.groups()));
    dims.addAll(kernel);
    Shape w = Shape.of(dims.stream().mapToInt(Integer::intValue).toArray());
    Require.shape(in.getFirst(), ConvRules.output(2, x, w, options), "gradient", "of the output");
    return List.of(in.getFirst().with(w));
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    ConvRules.backwardWeight(in[0], in[1], out[0], options);
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.inputsIf(new int[] {0, 1}, needs[1], needs[0]);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    Tensor d = c.grad(0);
    List<Integer> size = ConvRules.spatial(c.inputSpec(1).shape());
    return new @Nullable Tensor[] {
      c.needs(0) ? NN.conv2d(c.input(1), d, null, options) : null,
      c.needs(1) ? Convolutions.backwardInput2d(c.input(0), d, options, size) : null
    };
  }
}
