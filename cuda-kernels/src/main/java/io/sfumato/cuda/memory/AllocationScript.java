// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.memory;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * What a piece of host code asked an allocator for, in order. When the same code runs again to find
 * out what it would launch, its requests are answered from here, and nothing is taken or freed.
 */
public final class AllocationScript {
  private record Request(long address, long bytes) {}

  private final List<Request> requests = new ArrayList<>();
  private final Set<Long> addresses = new HashSet<>();
  private boolean playing;
  private int next;

  /** An empty script, to be written. */
  public AllocationScript() {}

  /** From now on answers requests, from the first on. */
  public void play() {
    playing = true;
    next = 0;
  }

  boolean isPlaying() {
    return playing;
  }

  boolean has(long address) {
    return addresses.contains(address);
  }

  void note(long address, long bytes) {
    requests.add(new Request(address, bytes));
    addresses.add(address);
  }

  long next(long bytes) {
    if (next == requests.size() || requests.get(next).bytes != bytes) {
      throw new IllegalStateException(
          "a varying part of captured work must ask for the same memory each time; number "
              + (next + 1)
              + " was "
              + (next == requests.size() ? "not asked for" : requests.get(next).bytes + " bytes")
              + ", now it is "
              + bytes
              + " bytes");
    }
    return requests.get(next++).address;
  }
}
