// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.driver;

import io.sfumato.tensor.cpu.Memory;

/**
 * Page-locked host memory for small uploads: they are copied here, so the caller may go on at once
 * while the device fetches them. Two halves are filled in turn; a half is reused when the device
 * has read it. One thread computes per device.
 */
final class PinnedRing {
  /** The largest upload that goes this way. */
  static final long LARGEST = 256 << 10;

  private static final long HALF = 2 << 20;

  private final long base = Driver.allocateHost(2 * HALF);
  private final long[] read = {Driver.createEvent(false), Driver.createEvent(false)};
  private final boolean[] pending = new boolean[2];
  private int half;
  private long used;

  void upload(long host, long device, long bytes, long stream) {
    if (used + bytes > HALF) {
      Driver.record(read[half], stream);
      pending[half] = true;
      half = 1 - half;
      used = 0;
      if (pending[half]) {
        Driver.synchronizeEvent(read[half]);
        pending[half] = false;
      }
    }
    long at = base + half * HALF + used;
    Memory.copy(host, at, bytes);
    used += (bytes + 63) & ~63L;
    Driver.toDevice(device, at, bytes, stream);
  }
}
