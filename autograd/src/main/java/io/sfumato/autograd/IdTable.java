// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd;

import java.util.Arrays;

/** Tensor ids to slots: open addressing, no boxing. Ids are positive; nothing is removed. */
final class IdTable {
  private long[] ids = new long[64];
  private int[] slots = new int[64];
  private int size;

  /** The slot of {@code id}, or -1. */
  int get(long id) {
    int mask = ids.length - 1;
    for (int i = hash(id) & mask; ids[i] != 0; i = (i + 1) & mask) {
      if (ids[i] == id) {
        return slots[i];
      }
    }
    return -1;
  }

  /** Sets the slot of {@code id}. */
  void put(long id, int slot) {
    if (2 * size >= ids.length) {
      grow();
    }
    int mask = ids.length - 1;
    int i = hash(id) & mask;
    while (ids[i] != 0 && ids[i] != id) {
      i = (i + 1) & mask;
    }
    if (ids[i] == 0) {
      ids[i] = id;
      size++;
    }
    slots[i] = slot;
  }

  private void grow() {
    long[] oldIds = ids;
    int[] oldSlots = slots;
    ids = new long[2 * oldIds.length];
    slots = Arrays.copyOf(oldSlots, ids.length);
    size = 0;
    for (int i = 0; i < oldIds.length; i++) {
      if (oldIds[i] != 0) {
        put(oldIds[i], oldSlots[i]);
      }
    }
  }

  private static int hash(long id) {
    return (int) ((id * 0x9e3779b97f4a7c15L) >>> 32);
  }
}
