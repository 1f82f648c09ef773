// SPDX-License-Identifier: Apache-2.0

/** The CUDA backend. */
module io.sfumato.cuda {
  requires transitive io.sfumato.tensor;
  requires static transitive org.jspecify;

  // Export each of these with its first class: javac takes no package without one.
  // exports io.sfumato.cuda;
}
