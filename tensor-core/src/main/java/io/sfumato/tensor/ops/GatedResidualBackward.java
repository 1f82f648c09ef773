// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.BatchwiseOp;
import io.sfumato.tensor.exec.Composite;
import io.sfumato.tensor.exec.Dense;
import java.util.List;

/**
 * Gradients of {@link GatedResidual} for the branch and its gate: {@code dh = gate dy}, and {@code
 * dgate} the sum of {@code dy h} over the tokens. Inputs: h [B, N, D], gate [B, D], dy [B, N, D].
 * Outputs: dh [B, N, D], dgate [B, D].
 */
public record GatedResidualBackward() implements Composite, BatchwiseOp {
  @Override
  public String name() {
    return "gated_residual_backward";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    Require.oneFloatingType(in);
    GatedResidual.check(in.get(0).shape(), in.get(2), in.get(1));
    return List.of(in.get(0), in.get(1));
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] h = in[0].data();
    double[] gate = in[1].data();
    double[] dy = in[2].data();
    int tokens = in[0].dim(1);
    int n = in[0].dim(2);
    for (int i = 0; i < h.length; i++) {
      int m = i / n / tokens * n + i % n;
      out[0].data()[i] = gate[m] * dy[i];
      out[1].data()[m] += dy[i] * h[i];
    }
  }

  @Override
  public Tensor[] compose(Tensor[] in) {
    return new Tensor[] {in[2].mul(in[1].unsqueeze(1)), in[2].mul(in[0]).sum(1)};
  }
}
