// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.driver;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import org.jspecify.annotations.Nullable;

/** The driver's functions for two devices. */
final class PeerDriver {
  private static final MethodHandle COPY =
      Driver.bind(
          "cuMemcpyPeerAsync", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);

  private static final MethodHandle CAN =
      Driver.bind("cuDeviceCanAccessPeer", ADDRESS, JAVA_INT, JAVA_INT);
  private static final MethodHandle ENABLE =
      Driver.bind("cuCtxEnablePeerAccess", JAVA_LONG, JAVA_INT);
  private static final int ALREADY_ENABLED = 704;

  private PeerDriver() {}

  /**
   * Lets the device of the current context read the memory of another one; without, copies go by
   * way of the host.
   *
   * @return null, or why it cannot
   */
  static @Nullable String connect(int device, int peer, long peerContext) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(JAVA_INT);
      Driver.check((int) CAN.invokeExact(result, device, peer), "cuDeviceCanAccessPeer");
      if (result.get(JAVA_INT, 0) == 0) {
        return "the driver sees no direct way between them";
      }
      int code = (int) ENABLE.invokeExact(peerContext, 0);
      return code == 0 || code == ALREADY_ENABLED
          ? null
          : "cuCtxEnablePeerAccess answers " + Driver.name(code) + " (" + Driver.text(code) + ")";
    } catch (Throwable t) {
      throw Driver.rethrown(t);
    }
  }

  /**
   * Copies from one device to another, directly where they are connected, else by way of the host,
   * which the driver sees to.
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
