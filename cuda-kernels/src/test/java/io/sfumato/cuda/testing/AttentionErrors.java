// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
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

  /** A mask to add [1, 1, Lq, Lk] whose queries have the lowest number 0, 1, 2 or 3 times in 3. */
  public static Tensor lowest(DType dtype, Device device, int queries, int keys) {
    double lowest =
        dtype == DType.BF16 ? -0x1.fep127 : dtype == DType.F16 ? -65504 : -Float.MAX_VALUE;
    double[] values = new double[queries * keys];
    for (int i = 0; i < values.length; i++) {
      int key = i % keys;
      values[i] = key % 3 < i / keys % 4 ? lowest : key % 5 * 0.5;
    }
    return Tensor.of(values, dtype, device, 1, 1, queries, keys);
  }
}
