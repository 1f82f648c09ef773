// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.driver;

import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.cpu.Memory;

/**
 * What kernels find wrong while they run: an index outside its axis. Kernels write into a few words
 * of page-locked host memory that the device sees under the same address ({@code struct
 * DeviceError} in {@code dev.h}: code, then the value found and its limit); the host looks whenever
 * it waits for the device anyway, so checking costs nothing.
 */
final class DeviceErrors {
  /** An index was negative or not below its limit. */
  static final int INDEX = 1;

  private static final long BYTES = 64;

  private final long address;

  DeviceErrors() {
    address = Driver.allocateHost(BYTES);
    clear();
  }

  long address() {
    return address;
  }

  private void clear() {
    for (long i = 0; i < BYTES; i += 8) {
      Memory.putLong(address + i, 0);
    }
  }

  /** Throws what a kernel reported since the last look. */
  void check() {
    long code = Memory.getLong(address);
    if (code == 0) {
      return;
    }
    long value = Memory.getLong(address + 8);
    long limit = Memory.getLong(address + 16);
    clear();
    throw new ShapeException(
        code == INDEX
            ? "an index given to gather, select, scatter or a loss must be at least 0 and below "
                + limit
                + "; got "
                + value
                + " (found on the device, which runs behind: start Java with"
                + " -Dsfumato.cuda.sync=true to see where)"
            : "a kernel reported error " + code + " with " + value + ", " + limit);
  }
}
