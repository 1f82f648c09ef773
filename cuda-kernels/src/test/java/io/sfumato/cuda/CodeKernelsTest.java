// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import static io.sfumato.cuda.DeviceAgreement.check;
import static io.sfumato.cuda.DeviceAgreement.integers;
import static io.sfumato.cuda.DeviceAgreement.normal;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.NearestCode;
import org.junit.jupiter.api.Test;

/** Vector quantisation over several tiles of vectors, codes and lengths, with tails of each. */
class CodeKernelsTest {
  private static final NearestCode NEAREST = new NearestCode();

  @Test
  void nearestCodes() throws Throwable {
    int[][] sizes = { // vectors, codes, length
      {1, 1, 1}, {64, 64, 16}, {65, 63, 17}, {130, 200, 40}, {3, 1000, 5}, {200, 70, 3}
    };
    try (Scope scope = Scope.open()) {
      for (int[] s : sizes) {
        for (DType dtype : new DType[] {DType.F32, DType.BF16, DType.F16}) {
          check(0, NEAREST, normal(dtype, 1, s[0], s[2]), normal(dtype, 2, s[1], s[2]));
        }
      }
      Tensor maps = normal(DType.F32, 3, 2, 33, 5, 7).permute(0, 2, 3, 1);
      check(0, NEAREST, maps, normal(DType.F32, 4, 33, 90).transpose(0, 1));
    }
  }

  @Test
  void ofEqualDistancesTheFirst() throws Throwable {
    try (Scope scope = Scope.open()) {
      for (DType dtype : new DType[] {DType.F32, DType.BF16, DType.F16}) {
        check(0, NEAREST, integers(dtype, 5, 3, 100, 20), integers(dtype, 6, 3, 150, 20));
      }
    }
  }

  @Test
  void codesOfNanAreNeverNearest() throws Throwable {
    try (Scope scope = Scope.open()) {
      double[] codes = {Double.NaN, 1, Double.POSITIVE_INFINITY, 0, 3, 3};
      double[] x = {0, 0, Double.NaN, 2, 3, 2};
      check(
          0,
          NEAREST,
          Tensor.of(x, DType.F32, Device.CPU, 3, 2),
          Tensor.of(codes, DType.F32, Device.CPU, 3, 2));
    }
  }
}
