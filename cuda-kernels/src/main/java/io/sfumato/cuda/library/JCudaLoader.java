// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.library;

import java.nio.file.Path;

/**
 * Lets JCuda load a native part that was put where this program wants it. JCuda takes a file of the
 * right name in the folder for temporary files as it is.
 */
final class JCudaLoader {
  private JCudaLoader() {}

  /**
   * Runs the initialiser of a class of JCuda's.
   *
   * @param placed the native part, under the name JCuda looks for
   * @param initializer what makes JCuda load it
   */
  static synchronized void load(Path placed, Runnable initializer) {
    String temporary = System.getProperty("java.io.tmpdir");
    System.setProperty("java.io.tmpdir", String.valueOf(placed.getParent()));
    try {
      initializer.run();
    } finally {
      System.setProperty("java.io.tmpdir", temporary);
    }
  }
}
