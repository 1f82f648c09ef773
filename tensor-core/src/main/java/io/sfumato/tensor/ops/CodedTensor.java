// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.Op;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A weight in few bits, and what can be computed with it. It is a constant: inputs get gradients,
 * the weight does not.
 *
 * @param coding how it is coded
 * @param parts the tensors that {@link Coding} names, in its order; this object does not own them
 */
public record CodedTensor(Coding coding, List<Tensor> parts) {
  /**
   * Copies the list.
   *
   * @throws io.sfumato.tensor.TensorException if a part is not what the coding says
   */
  public CodedTensor {
    parts = List.copyOf(parts);
    if (parts.size() != coding.parts()) {
      throw new IllegalArgumentException(
          "the coded weight has " + coding.parts() + " parts; got " + parts.size());
    }
    coding.check(parts.stream().map(Tensor::spec).toList(), 0);
  }

  /** The bytes of all parts. */
  public long bytes() {
    return parts.stream().mapToLong(p -> p.spec().bytes()).sum();
  }

  /** The values, rounded to a floating type, in the current scope. */
  public Tensor dequantize(DType dtype) {
    return Executor.run(new Dequantize(coding, dtype), parts.toArray(Tensor[]::new));
  }

  /**
   * {@code y = x Wᵀ + b} with this weight [out, in]; see {@link NN#linear}.
   *
   * @param x [..., in]
   * @param bias [out], or null; rounded to the type of x
   * @return [..., out], of the type of x
   */
  public Tensor linear(Tensor x, @Nullable Tensor bias) {
    return run(new QuantizedLinear(coding, false, bias != null), x, bias);
  }

  /**
   * A convolution with this weight [out, in/groups, kh, kw]; see {@link NN#conv2d}.
   *
   * @param x [N, in, H, W]
   * @param bias [out], or null; rounded to the type of x
   * @return [N, out, H', W'], of the type of x
   */
  public Tensor conv2d(Tensor x, @Nullable Tensor bias, ConvOptions options) {
    return run(new QuantizedConv2d(coding, options.resolved(2), bias != null), x, bias);
  }

  private Tensor run(Op op, Tensor x, @Nullable Tensor bias) {
    List<Tensor> in = new ArrayList<>(parts);
    in.addFirst(x);
    if (bias != null) {
      in.add(bias.to(x.dtype()));
    }
    return Executor.run(op, in.toArray(Tensor[]::new));
  }
}
