// SPDX-License-Identifier: Apache-2.0

/** The CUDA backend. */
module io.sfumato.cuda {
  requires transitive io.sfumato.tensor;
  requires static transitive org.jspecify;
  requires jcuda; // automatic modules; used where cuBLAS is
  requires jcublas;
  requires jcudnn;

  exports io.sfumato.cuda;
  exports io.sfumato.cuda.driver;
  exports io.sfumato.cuda.memory;

  provides io.sfumato.tensor.exec.BackendProvider with
      io.sfumato.cuda.CudaProvider;
}
