// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A copy of the elements in another memory order.
 *
 * @param channelsLast NHWC order if true, else row-major
 */
public record Contiguous(boolean channelsLast) implements Differentiable {
  @Override
  public String name() {
    return "contiguous";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    return List.of(in.getFirst());
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return channelsLast ? Layout.channelsLast(spec.shape()) : Layout.contiguous(spec.shape());
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    System.arraycopy(in[0].data(), 0, out[0].data(), 0, in[0].numel());
  }

  @Override
  public Saved saved(boolean[] needs) {
    return Saved.NONE;
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    return new @Nullable Tensor[] {c.grad(0)};
  }
}
