// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import java.lang.System.Logger;
import java.lang.System.Logger.Level;

/**
 * Whether convolutions of f32 may round their operands to the 10 bits of mantissa that tensor cores
 * take (tf32). They may unless someone said otherwise, as in PyTorch, where this holds for
 * convolutions and not for matrix products.
 */
public final class ConvPrecision {
  /** The system property that forbids it from the start, by {@code false}. */
  public static final String PROPERTY = "sfumato.cuda.conv.tf32";

  private static final Logger LOG = System.getLogger(ConvPrecision.class.getName());
  private static volatile boolean allowed = !System.getProperty(PROPERTY, "true").equals("false");
  private static boolean told;

  private ConvPrecision() {}

  /** Whether it is allowed. */
  public static boolean tf32() {
    return allowed;
  }

  /** Allows it or not, from the next launch on. */
  public static void allowTf32(boolean value) {
    allowed = value;
  }

  /** Tells once that it is done. */
  static synchronized void tell() {
    if (!told) {
      told = true;
      LOG.log(
          Level.INFO,
          "cuda: convolutions of f32 run on tensor cores and keep 10 bits of their operands (tf32);"
              + " -D"
              + PROPERTY
              + "=false keeps all");
    }
  }
}
