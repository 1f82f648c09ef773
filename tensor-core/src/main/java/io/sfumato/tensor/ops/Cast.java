// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
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
 * The elements in another type: rounded to nearest even between floating types, towards zero to
 * integers (U8 keeps the low byte), to BOOL by "is not 0". The gradient is cast back; through an
 * integer or BOOL type there is none.
 *
 * @param dtype the type of the result
 */
public record Cast(DType dtype) implements Differentiable {
  @Override
  public String name() {
    return "cast";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    return List.of(in.getFirst().with(dtype));
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return Layouts.elementwise(spec.shape(), in);
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
    return new @Nullable Tensor[] {Num.cast(c.grad(0), c.inputSpec(0).dtype())};
  }
}
