// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import java.lang.System.Logger;
import java.lang.System.Logger.Level;

/**
 * Whether products of f32 may round their operands to the 10 bits of mantissa that tensor cores
 * take (tf32). They may not unless someone said so.
 */
public final class Tf32 {
  /** The system property that allows it from the start. */
  public static final String PROPERTY = "sfumato.cuda.tf32";

  private static final Logger LOG = System.getLogger(Tf32.class.getName());
  private static volatile boolean allowed;

  static {
    if (Boolean.getBoolean(PROPERTY)) {
      allow(true);
    }
  }

  private Tf32() {}

  /** Whether it is allowed. */
  public static boolean allowed() {
    return allowed;
  }

  /** Allows it or not, from the next launch on. */
  public static synchronized void allow(boolean value) {
    if (value && !allowed) {
      LOG.log(
          Level.INFO,
          "cuda: products of f32 run on tensor cores and keep 10 bits of their operands (tf32)");
    }
    allowed = value;
  }
}
