// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Storage;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.CpuBackend;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.exec.Backends;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/**
 * Files of tensors that are written later, on any thread, as they are now: while {@link #of} runs
 * its body, {@link SafeTensors#save} copies the tensors to the host's memory and writes nothing. So
 * a training step waits for a copy and not for a disk.
 *
 * {@snippet :
 * DeferredWrites writes = DeferredWrites.of(() -> model.save(folder));
 * executor.submit(writes::write);
 * }
 *
 * <p>Writing or closing lets go of the copies.
 */
public final class DeferredWrites implements AutoCloseable {
  static final ScopedValue<DeferredWrites> CURRENT = ScopedValue.newInstance();

  private record File(
      Path path, Map<String, Tensor> tensors, Map<String, String> metadata, Set<String> signed) {
    void release() {
      tensors.values().forEach(t -> t.storage().release());
    }
  }

  private final Deque<File> files = new ArrayDeque<>();
  private long bytes;

  private DeferredWrites() {}

  /**
   * Runs {@code body}; what it saves is kept for {@link #write}.
   *
   * @throws RuntimeException what {@code body} throws; then nothing is kept
   */
  public static DeferredWrites of(Runnable body) {
    DeferredWrites writes = new DeferredWrites();
    try {
      ScopedValue.where(CURRENT, writes).run(body);
      return writes;
    } catch (RuntimeException | Error e) {
      writes.close();
      throw e;
    }
  }

  void add(
      Path path, Map<String, Tensor> tensors, Map<String, String> metadata, Set<String> signed) {
    File file = new File(path, new LinkedHashMap<>(), Map.copyOf(metadata), Set.copyOf(signed));
    files.add(file);
    tensors.forEach((name, t) -> file.tensors.put(name, copy(t)));
  }

  /** The values on the host, in a buffer that belongs to this object. */
  private Tensor copy(Tensor t) {
    long size = t.spec().bytes();
    Storage storage = CpuBackend.instance().allocate(size);
    try (Scope scope = Scope.open()) {
      Tensor dense = t.contiguous();
      if (dense.device().isCpu()) {
        MemorySegment.copy(Memory.ALL, dense.address(), Memory.ALL, storage.address(), size);
      } else {
        Backends.of(dense.device()).download(dense.address(), storage.address(), size);
      }
    } catch (RuntimeException | Error e) {
      storage.release();
      throw e;
    }
    bytes += size;
    return Tensor.owned(storage, Layout.contiguous(t.shape()), t.dtype(), null);
  }

  /** Bytes that the copies take. */
  public long bytes() {
    return bytes;
  }

  /**
   * Writes the files, in the order in which they were saved.
   *
   * @throws TensorFileException if one cannot be written; the rest is left out
   */
  public void write() {
    try {
      while (!files.isEmpty()) {
        File file = files.getFirst();
        SafeTensors.save(file.path, file.tensors, file.metadata, file.signed);
        files.removeFirst();
        file.release();
      }
    } finally {
      close();
    }
  }

  /** Lets go of what was not written. */
  @Override
  public void close() {
    while (!files.isEmpty()) {
      files.removeFirst().release();
    }
  }
}
