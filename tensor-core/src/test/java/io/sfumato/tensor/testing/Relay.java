// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.testing;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Storage;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.CpuBackend;
import io.sfumato.tensor.exec.Elements;
import io.sfumato.tensor.exec.StridedLoop;
import java.util.stream.IntStream;

/** Ways for the same values to lie in memory. Gaps hold NaN, or nonsense in whole-number types. */
public enum Relay {
  /** Row-major at the start of a buffer. */
  ROW_MAJOR,
  /** Row-major behind three other elements: not aligned. */
  OFFSET,
  /** All axes in reverse order in memory. */
  PERMUTED,
  /** Every second element of a buffer, as a slice with a step gives. */
  STEPPED,
  /** Rows with a gap between them, as a slice of the last axis gives. */
  ROWS_APART,
  /** Channels innermost; row-major unless the rank is 4. */
  CHANNELS_LAST,
  /** Axis 0 stretched with stride 0: every row has the values of the first. */
  EXPANDED;

  /** {@code x} laid out this way, owned by the current scope. */
  public Tensor of(Tensor x) {
    Shape shape = x.shape();
    int rank = shape.rank();
    return switch (this) {
      case ROW_MAJOR -> at(x, Layout.contiguous(shape));
      case OFFSET -> at(x, Layout.of(shape, Layout.contiguous(shape).strides(), 3));
      case PERMUTED ->
          at(x, Layout.ordered(shape, IntStream.range(0, rank).map(i -> rank - 1 - i).toArray()));
      case STEPPED -> {
        long[] strides = Layout.contiguous(shape).strides();
        for (int i = 0; i < rank; i++) {
          strides[i] *= 2;
        }
        yield at(x, Layout.of(shape, strides, 1));
      }
      case ROWS_APART -> {
        int last = rank == 0 ? 1 : shape.dim(-1);
        long[] strides = Layout.contiguous(shape).strides();
        for (int i = 0; i < rank - 1; i++) {
          strides[i] = strides[i] / Math.max(1, last) * (last + 5);
        }
        yield at(x, Layout.of(shape, strides, 2));
      }
      case CHANNELS_LAST ->
          at(x, rank == 4 ? Layout.channelsLast(shape) : Layout.contiguous(shape));
      case EXPANDED ->
          rank == 0 || shape.dim(0) < 2
              ? x
              : Tensor.view(x, x.layout().slice(0, 0, 1, 1).expand(shape));
    };
  }

  private static Tensor at(Tensor x, Layout layout) {
    DType dtype = x.dtype();
    int size = dtype.bytes();
    long elements = layout.extent() + 4;
    Storage storage = CpuBackend.instance().allocate(elements * size);
    Tensor y = Tensor.owned(storage, layout, dtype, Scope.current());
    double gap = dtype.isFloating() ? Double.NaN : dtype == DType.BOOL ? 1 : 99;
    for (long i = 0; i < elements; i++) {
      Elements.put(dtype, storage.address() + i * size, gap);
    }
    double[] values = x.toDoubleArray();
    int[] k = {0};
    StridedLoop.forEach(
        layout, p -> Elements.put(dtype, storage.address() + p * size, values[k[0]++]));
    return y;
  }
}
