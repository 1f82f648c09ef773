// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.driver;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.invoke.MethodHandle;

/** The driver's functions for two devices. */
final class PeerDriver {
  private static final MethodHandle COPY =
      Driver.bind(
          "cuMemcpyPeerAsync", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);

  private PeerDriver() {}

  /**
   * Copies from one device to another, directly where they can, else by way of the host, which the
   * driver sees to.
   *
   * @param stream a stream of the current context, on which the copy runs
   */
  static void copy(long to, long toContext, long from, long fromContext, long bytes, long stream) {
    try {
      Driver.check(
          (int) COPY.invokeExact(to, toContext, from, fromContext, bytes, stream),
          "cuMemcpyPeerAsync");
    } catch (Throwable t) {
      throw Driver.rethrown(t);
    }
  }
}
