// SPDX-License-Identifier: Apache-2.0

/** Tensors, operators, the CPU backend and tensor files. */
module io.sfumato.tensor {
  requires static jdk.incubator.vector;
  requires static java.management;
  requires static transitive org.jspecify;

  exports io.sfumato.tensor;
  exports io.sfumato.tensor.cpu;
  exports io.sfumato.tensor.exec;
  exports io.sfumato.tensor.io;
  exports io.sfumato.tensor.ops;

  uses io.sfumato.tensor.exec.BackendProvider;
}
