// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import io.sfumato.cuda.launch.ConvPrecision;
import io.sfumato.cuda.launch.Tf32;

/** Settings of the CUDA backend, and what it holds. */
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

  /**
   * What tensors of each CUDA device hold now, with the places where they were made: at the end of
   * a program, what it forgot to free. It takes {@code -Dsfumato.debug=true}.
   *
   * @return a paragraph for each device; empty if all is freed
   * @throws IllegalStateException if the places are not noted
   */
  public static String unfreed() {
    if (!Boolean.getBoolean("sfumato.debug")) {
      throw new IllegalStateException(
          "where tensors are made is noted only with -Dsfumato.debug=true");
    }
    return CudaProvider.unfreed();
  }
}
