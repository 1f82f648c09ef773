// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

/**
 * What communication has cost one rank so far.
 *
 * @param operations collective operations
 * @param bytes sent to other ranks
 * @param seconds that operations took, whatever else was done meanwhile
 * @param waited seconds that training stood still for them; the rest was hidden behind computing
 */
public record Traffic(long operations, long bytes, double seconds, double waited) {
  /** What came since an earlier moment. */
  public Traffic since(Traffic earlier) {
    return new Traffic(
        operations - earlier.operations,
        bytes - earlier.bytes,
        seconds - earlier.seconds,
        waited - earlier.waited);
  }

  /** Seconds that computing hid. */
  public double hidden() {
    return Math.max(0, seconds - waited);
  }
}
