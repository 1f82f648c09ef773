// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.Storage;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Gemm.Matrix;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * Panels of weights that do not change, packed once and kept: frozen layers, and all layers while a
 * model is only evaluated.
 *
 * <p>A weight is packed when it is met for the second time with the same contents; so one that is
 * updated after each use costs nothing here. What is kept goes when the weight changes or is freed.
 */
public final class PackedWeights {
  private static final Map<Storage, PackedWeights> OF_STORAGE = new ConcurrentHashMap<>();

  private final Map<Matrix, Entry> entries = new HashMap<>();
  private boolean freed;

  private PackedWeights() {}

  private static final class Entry {
    int version;
    @Nullable Storage panels;

    Entry(int version) {
      this.version = version;
    }

    void drop() {
      if (panels != null) {
        panels.release();
        panels = null;
      }
    }
  }

  /**
   * The panels of a weight.
   *
   * @param w the weight, whose storage holds the matrix
   * @param k rows of the matrix
   * @param n columns of the matrix
   * @param b the matrix, in the memory of {@code w}
   * @return the address of all panels of {@code b}, or 0 if they are not kept
   */
  public static long find(Tensor w, int k, int n, Matrix b) {
    Storage storage = w.storage();
    PackedWeights packed =
        OF_STORAGE.computeIfAbsent(
            storage,
            s -> {
              PackedWeights fresh = new PackedWeights();
              s.whenFreed(() -> free(s));
              return fresh;
            });
    return packed.panels(storage.version(), k, n, b);
  }

  private synchronized long panels(int version, int k, int n, Matrix b) {
    Entry entry = entries.get(b);
    if (entry == null) {
      entries.put(b, new Entry(version));
      return 0;
    }
    if (entry.version != version) {
      entry.version = version;
      entry.drop();
      return 0;
    }
    if (entry.panels == null && !freed) {
      GemmTile tile = Simd.provider().gemmTile();
      entry.panels = CpuBackend.instance().allocate(4 * Panels.floats(tile, k, n));
      Panels.packAll(tile, k, n, b, entry.panels.address());
    }
    return entry.panels == null ? 0 : entry.panels.address();
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
