// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.library;

import java.util.List;

/** Which versions of a library of CUDA suit the driver. */
final class Versions {
  private Versions() {}

  /** The names of files, the preferred first: CUDA 13 where the driver knows it, else CUDA 12. */
  static List<String> files(String library, boolean cuda13) {
    return cuda13 ? List.of(library + ".13", library + ".12") : List.of(library + ".12");
  }
}
