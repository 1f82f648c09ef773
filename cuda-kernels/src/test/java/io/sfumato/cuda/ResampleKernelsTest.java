// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import static io.sfumato.cuda.DeviceAgreement.check;
import static io.sfumato.cuda.DeviceAgreement.integers;
import static io.sfumato.cuda.DeviceAgreement.normal;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.AdaptiveAvgPool2d;
import io.sfumato.tensor.ops.AvgPool2d;
import io.sfumato.tensor.ops.MaxPool2d;
import io.sfumato.tensor.ops.ResampleBackward;
import io.sfumato.tensor.ops.Resampling;
import io.sfumato.tensor.ops.UpsampleBilinear;
import io.sfumato.tensor.ops.UpsampleNearest;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Resampling in both memory orders, by ratios of all kinds, and the gradients. */
class ResampleKernelsTest {
  private static final double F32 = 2e-6;

  static Stream<Resampling> ops() {
    return Stream.of(
        new UpsampleNearest(List.of(18, 14)),
        new UpsampleNearest(List.of(10, 20)),
        new UpsampleNearest(List.of(4, 3)),
        new UpsampleBilinear(List.of(18, 14), false),
        new UpsampleBilinear(List.of(11, 23), true),
        new UpsampleBilinear(List.of(4, 3), false),
        new UpsampleBilinear(List.of(5, 1), true),
        new AvgPool2d(List.of(2, 2), List.of(2, 2), List.of(0, 0), true),
        new AvgPool2d(List.of(3, 5), List.of(1, 2), List.of(1, 2), true),
        new AvgPool2d(List.of(3, 4), List.of(3, 2), List.of(1, 2), false),
        new AvgPool2d(List.of(2, 1), List.of(3, 4), List.of(0, 0), false),
        new AdaptiveAvgPool2d(List.of(1, 1)),
        new AdaptiveAvgPool2d(List.of(4, 3)),
        new AdaptiveAvgPool2d(List.of(10, 20)));
  }

  @ParameterizedTest
  @MethodSource("ops")
  void bothOrders(Resampling op) throws Throwable {
    try (Scope scope = Scope.open()) {
      for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
        for (int channels : new int[] {5, 16}) {
          Tensor x = normal(dtype, 1, 2, channels, 9, 7);
          Shape y = op.infer(List.of(x.spec())).getFirst().shape();
          Tensor g = normal(dtype, 2, y.dims());
          check(F32, op, x);
          check(F32, op, channelsLast(x));
          check(F32, new ResampleBackward(op, List.of(9, 7)), g);
          check(F32, new ResampleBackward(op, List.of(9, 7)), channelsLast(g));
        }
      }
    }
  }

  private static Tensor channelsLast(Tensor x) {
    return x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2);
  }

  @Test
  void nearestOfLinesVolumesAndIntegers() throws Throwable {
    try (Scope scope = Scope.open()) {
      UpsampleNearest volume = new UpsampleNearest(List.of(5, 4, 7));
      check(0, volume, normal(DType.F32, 3, 2, 3, 3, 2, 4));
      check(
          F32, new ResampleBackward(volume, List.of(3, 2, 4)), normal(DType.F32, 4, 1, 3, 5, 4, 7));
      check(0, new UpsampleNearest(List.of(300)), normal(DType.F16, 5, 3, 4, 131));
      check(0, new UpsampleNearest(List.of(8, 6)), integers(DType.U8, 6, 250, 2, 3, 4, 3));
    }
  }

  @Test
  void maxima() throws Throwable {
    try (Scope scope = Scope.open()) {
      for (int stride = 1; stride <= 2; stride++) {
        MaxPool2d op =
            new MaxPool2d(List.of(3, 2), List.of(stride, 2), List.of(1, 1), List.of(1, 2));
        Tensor x = normal(DType.F32, 7, 2, 6, 9, 11);
        check(0, op, x);
        check(0, op, channelsLast(x));
        check(0, op, integers(DType.BF16, 8, 3, 2, 16, 9, 11));
      }
    }
  }
}
