// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

/**
 * Tensors from PyTorch's CPU generator: what {@code torch.randn(shape, generator=g)} and its like
 * give, row-major on the CPU. See {@link TorchGenerator} for how exact they are.
 */
public final class TorchRandom {
  private TorchRandom() {}

  /** {@code torch.randn}: standard normal F32 values. */
  public static Tensor randn(TorchGenerator generator, int... shape) {
    Tensor t = empty(DType.F32, shape);
    generator.fillNormal(t.address(), t.numel(), 0, 1);
    return t;
  }

  /** {@code torch.rand}: F32 values uniform in [0, 1). */
  public static Tensor rand(TorchGenerator generator, int... shape) {
    Tensor t = empty(DType.F32, shape);
    generator.fillUniform(t.address(), t.numel(), 0, 1);
    return t;
  }

  /** {@code torch.randint}: I64 values uniform in [{@code low}, {@code high}). */
  public static Tensor randint(TorchGenerator generator, long low, long high, int... shape) {
    Tensor t = empty(DType.I64, shape);
    generator.fillIntegers(t.address(), t.numel(), low, high);
    return t;
  }

  /** {@code torch.randperm}: the numbers 0 to {@code n - 1} in random order, I64. */
  public static Tensor randperm(TorchGenerator generator, int n) {
    return Tensor.of(generator.randperm(n), n);
  }

  private static Tensor empty(DType dtype, int... shape) {
    return Tensor.empty(new TensorSpec(Shape.of(shape), dtype, Device.CPU));
  }
}
