// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.driver;

import java.util.Locale;

/** Which file is the NVIDIA driver's library. Naming it loads nothing. */
public final class DriverLibrary {
  /** The system property with the name or path of the library. */
  public static final String PROPERTY = "sfumato.cuda.library";

  private DriverLibrary() {}

  /** What the property says, else {@code libcuda.so.1} or {@code nvcuda.dll}. */
  public static String name() {
    boolean windows =
        System.getProperty("os.name", "").toLowerCase(Locale.ROOT).startsWith("windows");
    return System.getProperty(PROPERTY, windows ? "nvcuda.dll" : "libcuda.so.1");
  }
}
