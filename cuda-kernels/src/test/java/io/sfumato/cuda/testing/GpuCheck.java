// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import io.sfumato.cuda.CudaProvider;

/** A program that says in one line why tests cannot use a GPU of this machine, and exits with 2. */
public final class GpuCheck {
  private GpuCheck() {}

  /** Looks for one. */
  public static void main(String[] args) {
    String why = new CudaProvider().unavailable();
    if (why != null) {
      System.err.println("no test is run on a GPU, because " + why);
      System.exit(2);
    }
  }
}
