// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.peers;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.openblas.global.openblas_nolapack;

/** The number of threads of OpenBLAS, which its Java binding leaves out. */
final class OpenBlas {
  private OpenBlas() {}

  /**
   * Sets it. That of libtorch does not reach its OpenBLAS, so libtorch needs this as well.
   *
   * @throws IllegalStateException if OpenBLAS' threads would disturb others: they spin long after
   *     each call unless the environment says otherwise
   */
  static void setThreads(int threads) {
    if (System.getenv("OPENBLAS_THREAD_TIMEOUT") == null) {
      throw new IllegalStateException(
          "set OPENBLAS_THREAD_TIMEOUT=18 in the environment: idle threads of OpenBLAS take a core"
              + " from whatever is measured next");
    }
    String unused = Loader.load(openblas_nolapack.class);
    MemorySegment function =
        SymbolLookup.loaderLookup().find("openblas_set_num_threads").orElseThrow();
    try {
      Linker.nativeLinker()
          .downcallHandle(function, FunctionDescriptor.ofVoid(ValueLayout.JAVA_INT))
          .invokeExact(threads);
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
  }
}
