// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

/**
 * A call of a native function by its method handle, whose signature declares any exception while
 * none comes out of C.
 */
@FunctionalInterface
interface NativeCall<T> {
  /** Calls. */
  T run() throws Throwable;

  /**
   * What the call gives.
   *
   * @param function its name, for the message should the handle itself fail
   */
  static <T> T result(String function, NativeCall<T> call) {
    try {
      return call.run();
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IllegalStateException(function, e);
    }
  }
}
