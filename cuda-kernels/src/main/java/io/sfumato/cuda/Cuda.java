// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import io.sfumato.cuda.launch.ConvPrecision;
import io.sfumato.cuda.launch.Tf32;

/** Settings of the CUDA backend. */
public final class Cuda {
  private Cuda() {}

  /**
   * Lets products of f32 round their operands to tf32 (8 bits of exponent, 10 of mantissa), which
   * is several times as fast and about as exact as bf16 with three more bits. Off unless this or
   * the system property {@code sfumato.cuda.tf32=true} says otherwise; one line of the log says so.
   *
   * @param allowed whether they may, from the next op on
   */
  public static void allowTf32(boolean allowed) {
    Tf32.allow(allowed);
  }

  /**
   * Lets convolutions of f32 round their operands to tf32. On, as in PyTorch, unless this or the
   * system property {@code sfumato.cuda.conv.tf32=false} says otherwise; one line of the log says
   * so.
   *
   * @param allowed whether they may, from the next op on
   */
  public static void allowTf32InConvolutions(boolean allowed) {
    ConvPrecision.allowTf32(allowed);
  }
}
