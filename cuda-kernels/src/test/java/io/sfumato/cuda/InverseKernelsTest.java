// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import static io.sfumato.cuda.DeviceAgreement.check;
import static io.sfumato.cuda.DeviceAgreement.normal;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Inverse;
import io.sfumato.tensor.ops.Shaping;
import org.junit.jupiter.api.Test;

/** Inverses of one to many matrices, in shared memory and beyond. */
class InverseKernelsTest {
  @Test
  void inverses() throws Throwable {
    int[][] sizes = {{1, 1}, {3, 2}, {5, 7}, {2, 31}, {2, 32}, {1, 33}, {2, 48}, {2, 49}, {1, 131}};
    try (Scope scope = Scope.open()) {
      for (int[] s : sizes) {
        for (DType dtype : new DType[] {DType.F32, DType.BF16, DType.F16, DType.F64}) {
          // Far enough from singular: I plus a skew matrix, rows reversed so that pivots are
          // sought.
          Tensor a = normal(DType.F32, 1, s[0], s[1], s[1]);
          Tensor skew = a.sub(a.transpose(1, 2)).mul(0.3).add(Shaping.eye(s[1]));
          check(2e-6, new Inverse(), Shaping.flip(skew, 1).to(dtype));
        }
      }
      for (int n : new int[] {48, 49}) { // zeros where no pivot was sought
        check(0, new Inverse(), Shaping.flip(Shaping.eye(n), 0).reshape(1, n, n));
      }
      check(2e-6, new Inverse(), normal(DType.F32, 2, 4, 4, 3).permute(2, 1, 0).add(eye(4)));
    }
  }

  private static Tensor eye(int n) {
    return Shaping.eye(n).mul(6);
  }
}
