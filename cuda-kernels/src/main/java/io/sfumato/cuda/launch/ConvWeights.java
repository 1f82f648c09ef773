// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.Storage;
import io.sfumato.tensor.Tensor;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.LongConsumer;
import org.jspecify.annotations.Nullable;

/**
 * The weights of a convolution in the orders that kernels read. A copy in another order lives until
 * this is closed, but for weights that are met a second time with the same contents (those of
 * frozen layers, and all while a model is only evaluated): theirs is kept until they change or are
 * freed.
 */
final class ConvWeights implements AutoCloseable {
  private static final Map<Storage, Kept> KEPT = new ConcurrentHashMap<>();

  private final Gpu gpu;
  private final ConvKernels kernels;
  private final Tensor weight;
  private final Staging staging;
  private final Map<Order, Long> made = new EnumMap<>(Order.class);

  /** An order of weights other than [out, in/groups, taps]. */
  private enum Order {
    TAPS_FIRST,
    INPUTS_FIRST
  }

  ConvWeights(Gpu gpu, Convolution c, Tensor weight) {
    this.gpu = gpu;
    this.kernels = new ConvKernels(gpu, c, false);
    this.weight = weight;
    this.staging = new Staging(gpu);
  }

  /** Where they are as [out, in/groups, taps]. */
  long rowMajor() {
    return staging.rowMajor(weight);
  }

  /** Whether each order of them begins at a multiple of 16 bytes. */
  boolean aligned() {
    return weight.address() % 16 == 0;
  }

  /** Where they are as [out, taps, in/groups]. */
  long tapsFirst() {
    return kernels.tapsFirstIsRowMajor()
        ? rowMajor()
        : find(Order.TAPS_FIRST, to -> kernels.tapsFirst(rowMajor(), to));
  }

  /** Where they are as [groups, in/groups, taps, out/groups]. */
  long inputsFirst() {
    return find(Order.INPUTS_FIRST, to -> kernels.inputsFirst(rowMajor(), to));
  }

  private long find(Order order, LongConsumer packer) {
    Long known = made.get(order);
    if (known == null) {
      // captured work packs at each replay, for weights may have changed by then
      boolean keep = weight.layout().isContiguous() && !gpu.isCapturing();
      known = keep ? kept(order, packer) : 0;
      if (known == 0) {
        known = staging.allocate(weight.spec().bytes());
        packer.accept(known);
      }
      made.put(order, known);
    }
    return known;
  }

  private long kept(Order order, LongConsumer packer) {
    Storage storage = weight.storage();
    return KEPT.computeIfAbsent(storage, s -> open(s, gpu))
        .find(
            storage.version(),
            order + " from " + weight.layout().offset() + " of " + weight.shape(),
            weight.spec().bytes(),
            packer);
  }

  private static Kept open(Storage storage, Gpu gpu) {
    storage.whenFreed(
        () -> {
          Kept kept = KEPT.remove(storage);
          if (kept != null) {
            kept.close();
          }
        });
    return new Kept(gpu);
  }

  @Override
  public void close() {
    staging.close();
  }

  /** What is kept of one storage. */
  private static final class Kept {
    private final Gpu gpu;
    private final Map<String, Entry> entries = new HashMap<>();
    private boolean freed;

    Kept(Gpu gpu) {
      this.gpu = gpu;
    }

    private static final class Entry {
      int version;
      @Nullable Long address;

      Entry(int version) {
        this.version = version;
      }
    }

    /** Where it is kept, or 0 if it is not. */
    synchronized long find(int version, String key, long bytes, LongConsumer packer) {
      Entry entry = entries.get(key);
      if (entry == null) {
        entries.put(key, new Entry(version));
        return 0;
      }
      if (entry.version != version) {
        entry.version = version;
        drop(entry);
        return 0;
      }
      if (entry.address == null && !freed) {
        long address = gpu.memory().allocate(bytes);
        packer.accept(address);
        entry.address = address;
      }
      return entry.address == null ? 0 : entry.address;
    }

    private void drop(Entry entry) {
      if (entry.address != null) {
        gpu.memory().free(entry.address);
        entry.address = null;
      }
    }

    synchronized void close() {
      freed = true;
      entries.values().forEach(this::drop);
    }
  }
}
