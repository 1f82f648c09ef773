// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.memory;

/**
 * Device memory for the time of a launch. Work on one stream runs in order, so it may be closed
 * right after the launches that use it.
 */
public final class Scratch implements AutoCloseable {
  private final CachingAllocator allocator;
  private final long address;

  /** Memory of at least {@code bytes}; none if 0. */
  public Scratch(CachingAllocator allocator, long bytes) {
    this.allocator = allocator;
    this.address = bytes == 0 ? 0 : allocator.allocate(bytes);
  }

  /** Where it starts; aligned to 512 bytes. */
  public long address() {
    return address;
  }

  @Override
  public void close() {
    if (address != 0) {
      allocator.free(address);
    }
  }
}
