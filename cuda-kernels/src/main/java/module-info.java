// SPDX-License-Identifier: Apache-2.0

/** The CUDA backend. */
module io.sfumato.cuda {
  requires transitive io.sfumato.tensor;
  requires static transitive org.jspecify;
}
