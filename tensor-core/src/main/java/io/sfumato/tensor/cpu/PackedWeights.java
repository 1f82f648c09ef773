// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.Storage;
import io.sfumato.tensor.Tensor;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.LongConsumer;
import org.jspecify.annotations.Nullable;

/**
 * Weights in the order that a kernel reads, packed once and kept while they do not change: those of
 * frozen layers, and of all layers while a model is only evaluated.
 *
 * <p>A weight is packed when it is met for the second time with the same contents; so one that is
 * updated after each use costs nothing here. What is kept goes when the weight changes or is freed.
 */
public final class PackedWeights {
  private static final Map<Storage, PackedWeights> OF_STORAGE = new ConcurrentHashMap<>();

  private final Map<Object, Entry> entries = new HashMap<>();
  private boolean freed;

  private PackedWeights() {}

  /** Where a kernel asks for packed weights. */
  @FunctionalInterface
  public interface Cache {
    /** Keeps nothing. */
    Cache NONE = (key, floats, packer) -> 0;

    /**
     * Packed weights that are kept.
     *
     * @param key tells apart what is packed differently, or lies elsewhere in the storage
     * @param floats how much is packed
     * @param packer packs to an address
     * @return the address, or 0 if the kernel shall pack for itself
     */
    long find(Object key, long floats, LongConsumer packer);

    /** The same, or weights that are packed into work space of the calling thread. */
    default long packed(Object key, long floats, LongConsumer packer) {
      long kept = find(key, floats, packer);
      if (kept != 0) {
        return kept;
      }
      long packed = Scratch.get(Scratch.Slot.WEIGHTS, 4 * floats);
      packer.accept(packed);
      return packed;
    }
  }

  private static final class Entry {
    int version;
    @Nullable Storage packed;

    Entry(int version) {
      this.version = version;
    }

    void drop() {
      if (packed != null) {
        packed.release();
        packed = null;
      }
    }
  }

  /** The cache that belongs to the storage of {@code w}. */
  public static Cache of(Tensor w) {
    Storage storage = w.storage();
    return (key, floats, packer) ->
        OF_STORAGE
            .computeIfAbsent(storage, PackedWeights::open)
            .find(storage.version(), key, floats, packer);
  }

  private static PackedWeights open(Storage storage) {
    storage.whenFreed(() -> free(storage));
    return new PackedWeights();
  }

  private synchronized long find(int version, Object key, long floats, LongConsumer packer) {
    Entry entry = entries.get(key);
    if (entry == null) {
      entries.put(key, new Entry(version));
      return 0;
    }
    if (entry.version != version) {
      entry.version = version;
      entry.drop();
      return 0;
    }
    if (entry.packed == null && !freed) {
      Storage packed = CpuBackend.instance().allocate(4 * floats);
      packer.accept(packed.address());
      entry.packed = packed;
    }
    return entry.packed == null ? 0 : entry.packed.address();
  }

  private static void free(Storage storage) {
    PackedWeights packed = OF_STORAGE.remove(storage);
    if (packed != null) {
      packed.close();
    }
  }

  private synchronized void close() {
    freed = true;
    entries.values().forEach(Entry::drop);
  }
}
