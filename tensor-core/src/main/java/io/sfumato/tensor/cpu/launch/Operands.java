// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Tensor;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** What launches ask of their operands. */
final class Operands {
  private Operands() {}

  /** Why f32 loops do not take the case, or null. No elements are no obstacle. */
  static @Nullable String floatsOnly(Tensor[] in, Tensor[] out) {
    for (Tensor[] side : new Tensor[][] {in, out}) {
      for (Tensor t : side) {
        if (t.dtype() != DType.F32) {
          return "needs f32";
        }
      }
    }
    return null;
  }

  /** Why a kernel for f32, bf16 or f16, but one of them, does not take the case, or null. */
  static @Nullable String floatsOrHalves(Tensor[] in, Tensor[] out) {
    DType type = out[0].dtype();
    if (type != DType.F32 && !type.isHalf()) {
      return "needs f32, bf16 or f16";
    }
    for (Tensor[] side : new Tensor[][] {in, out}) {
      for (Tensor t : side) {
        if (t.dtype() != type) {
          return "needs operands of one type";
        }
      }
    }
    return null;
  }

  /** An output followed by the inputs. */
  static Tensor[] outFirst(Tensor out, Tensor... in) {
    Tensor[] all = new Tensor[in.length + 1];
    all[0] = out;
    System.arraycopy(in, 0, all, 1, in.length);
    return all;
  }

  /** The layout of {@code t} if it is dense with an axis innermost, else one that is. */
  static Layout withInnermost(Tensor t, int axis) {
    Layout layout = t.layout();
    int a = t.shape().axis(axis);
    if (layout.isDense() && (layout.stride(a) == 1 || t.dim(a) == 1)) {
      return layout.like(t.shape());
    }
    int[] order =
        IntStream.concat(IntStream.range(0, t.rank()).filter(i -> i != a), IntStream.of(a))
            .toArray();
    return Layout.ordered(t.shape(), order);
  }
}
