// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Dense;
import java.util.Arrays;

/** What results of attention kernels may differ by from the reference. */
public final class AttentionErrors {
  private AttentionErrors() {}

  /**
   * Compares. Weights and the scores' gradients are rounded to the type: errors are relative to the
   * largest.
   *
   * @param what the result, for messages
   * @param dtype the operands' type
   * @return the values got
   */
  public static double[] compare(String what, DType dtype, Dense expected, Tensor got) {
    double rounding = dtype == DType.BF16 ? 0x1p-7 : dtype == DType.F16 ? 0x1p-10 : 0;
    double tolerance = 5e-6 + (got.dtype() == DType.F32 ? 0 : rounding);
    double most =
        Arrays.stream(expected.data()).filter(Double::isFinite).map(Math::abs).max().orElse(0);
    double[] values = got.toDoubleArray();
    assertEquals(expected.data().length, values.length);
    for (int i = 0; i < values.length; i++) {
      assertEquals(expected.data()[i], values[i], tolerance * Math.max(most, 1e-3), what + " " + i);
    }
    return values;
  }
}
