// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Composite;
import io.sfumato.tensor.exec.Dense;
import java.util.List;

/**
 * The adjoint of {@link UpsampleConv2d} in its weight: inputs g [N, out, 2 H, 2 W] and x [N, in, H,
 * W]; output [out, in, 3, 3].
 */
public record UpsampleConv2dBackwardWeight() implements Composite {
  private static final List<Integer> KERNEL = List.of(3, 3);

  @Override
  public String name() {
    return "upsample_conv2d_backward_weight";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    Require.oneFloatingType(in);
    Shape g = in.get(0).shape();
    Shape x = in.get(1).shape();
    if (g.rank() != 4 || x.rank() != 4 || !g.equals(UpsampleConv2d.doubled(x).with(1, g.dim(1)))) {
      throw new ShapeException("inputs must have shapes [N, out, 2 H, 2 W] and [N, in, H, W]");
    }
    return List.of(in.getFirst().with(Shape.of(g.dim(1), x.dim(1), 3, 3)));
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    Dense up = UpsampleConv2d.upsampled(in[1]);
    ConvRules.backwardWeight(in[0], up, out[0], UpsampleConv2d.SAME);
  }

  @Override
  public Tensor[] compose(Tensor[] in) {
    Tensor up = Resampling.apply(UpsampleConv2d.upsampling(in[1].shape()), in[1]);
    return new Tensor[] {Convolutions.backwardWeight2d(in[0], up, UpsampleConv2d.SAME, KERNEL)};
  }
}
