// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Backend;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * Collectives on GPUs, by NCCL: tensors of the ranks' devices stay there. Tensors on the CPU,
 * messages and the end of the run go through other collectives, which also carry the id that NCCL's
 * communicator begins with.
 *
 * <p>Operations are put on the device's own stream, after what was launched before them, and
 * nothing waits on the host. NCCL adds in an order of its own, and 16-bit values in 16 bits: a sum
 * is the same on all ranks, but not to the bit the one that {@link HostCollectives} gives.
 */
final class NcclCollectives implements Collectives {
  private final Collectives host;
  private final Backend backend;
  private final Nccl nccl;
  private final String version;
  private final AtomicLong operations = new AtomicLong();
  private final AtomicLong sent = new AtomicLong();

  private NcclCollectives(Collectives host, Backend backend, Nccl nccl, String version) {
    this.host = host;
    this.backend = backend;
    this.nccl = nccl;
    this.version = version;
  }

  /**
   * Joins the ranks' devices; all ranks must call it.
   *
   * @param host the ranks; closed with the result
   * @param backend of this rank's device
   * @throws CollectiveException on every rank, with the ranks that cannot and the reasons
   */
  static NcclCollectives join(Collectives host, Backend backend) {
    @Nullable NcclLibrary library = null;
    byte[] id = new byte[Nccl.ID_BYTES];
    String text;
    boolean able = false;
    try {
      stream(backend);
      library = NcclLibrary.open();
      if (host.rank() == 0) {
        id = Nccl.newId(library);
      }
      text = library.versionText();
      able = true;
    } catch (CollectiveException e) {
      text = String.valueOf(e.getMessage());
    }
    byte[] words = text.getBytes(StandardCharsets.UTF_8);
    byte[][] all =
        host.exchange(
            ByteBuffer.allocate(1 + id.length + words.length)
                .put((byte) (able ? 1 : 0))
                .put(id)
                .put(words)
                .array());
    String first = words(all[0]);
    List<String> wrong = new ArrayList<>();
    for (int r = 0; r < all.length; r++) {
      if (all[r][0] == 0) {
        wrong.add("rank " + r + ": " + words(all[r]));
      } else if (all[0][0] != 0 && !words(all[r]).equals(first)) {
        wrong.add("rank 0 has " + first + " and rank " + r + " " + words(all[r]));
      }
    }
    if (library == null || !wrong.isEmpty()) {
      throw new CollectiveException(String.join("; ", wrong));
    }
    stream(backend);
    byte[] common = Arrays.copyOfRange(all[0], 1, 1 + Nccl.ID_BYTES);
    Nccl nccl = new Nccl(library, common, host.rank(), host.size());
    if (host instanceof HostCollectives watched) {
      watched.whenFailed(nccl::abort); // else the device waits for a rank that is gone
    }
    return new NcclCollectives(host, backend, nccl, first);
  }

  private static String words(byte[] message) {
    int from = 1 + Nccl.ID_BYTES;
    return new String(message, from, message.length - from, StandardCharsets.UTF_8);
  }

  /** The device's stream, after making the device current on this thread. */
  private static long stream(Backend backend) {
    return backend.stream()
        .orElseThrow(
            () ->
                new CollectiveException(
                    "NCCL: works on CUDA devices, and this rank's is "
                        + backend.device()
                        + "; use --device cuda, or --communication mpi"));
  }

  /** What an operation does to this rank's stream. */
  @FunctionalInterface
  private interface Operation {
    void on(long stream);
  }

  private Pending put(long bytes, Operation operation) {
    checkAlive();
    operation.on(stream(backend));
    operations.incrementAndGet();
    sent.addAndGet(bytes);
    return () -> { // what comes later on the stream sees the result
      checkAlive();
      nccl.check();
    };
  }

  private void checkAlive() {
    if (host instanceof HostCollectives watched) {
      watched.checkAlive();
    }
  }

  private boolean isOnHost(String operation, Tensor data) {
    if (data.device().isCpu()) {
      return true;
    }
    if (!data.device().equals(backend.device()) || !data.layout().isContiguous()) {
      throw new IllegalArgumentException(
          operation
              + ": the tensor must be contiguous and on the CPU or on "
              + backend.device()
              + "; got "
              + data.spec());
    }
    return false;
  }

  private static DType floating(String operation, Tensor data) {
    if (!data.dtype().isFloating()) {
      throw new IllegalArgumentException(
          operation + ": only floating values are summed; got " + data.spec());
    }
    return data.dtype();
  }

  private void checkCounts(String operation, Tensor data, long[] counts) {
    if (counts.length != size() || Segments.starts(counts)[size()] != data.numel()) {
      throw new IllegalArgumentException(
          String.format(
              "%s: %d ranks need as many segments, which make up %s; got %s",
              operation, size(), data.spec(), Arrays.toString(counts)));
    }
  }

  /** What each rank sends of some bytes if a ring carries them. */
  private long inRing(long bytes) {
    return bytes * (size() - 1) / size();
  }

  private static long bytes(Tensor data) {
    return data.numel() * data.dtype().bytes();
  }

  @Override
  public Pending allReduce(Tensor data, Reduction reduction) {
    if (isOnHost("all-reduce", data)) {
      return host.allReduce(data, reduction);
    }
    DType type = floating("all-reduce", data);
    return put(
        2 * inRing(bytes(data)),
        stream -> nccl.allReduce(data.address(), data.numel(), type, reduction, stream));
  }

  @Override
  public Pending reduceScatter(Tensor data, long[] counts, Reduction reduction) {
    if (isOnHost("reduce-scatter", data)) {
      return host.reduceScatter(data, counts, reduction);
    }
    DType type = floating("reduce-scatter", data);
    checkCounts("reduce-scatter", data, counts);
    return put(
        inRing(bytes(data)),
        stream -> nccl.reduceScatter(data.address(), counts, type, reduction, stream));
  }

  @Override
  public Pending allGather(Tensor data, long[] counts) {
    if (isOnHost("all-gather", data)) {
      return host.allGather(data, counts);
    }
    checkCounts("all-gather", data, counts);
    int width = data.dtype().bytes();
    long[] bytes = Arrays.stream(counts).map(c -> c * width).toArray();
    return put(inRing(bytes(data)), stream -> nccl.allGather(data.address(), bytes, stream));
  }

  @Override
  public Pending broadcast(Tensor data, int root) {
    if (isOnHost("broadcast", data)) {
      return host.broadcast(data, root);
    }
    if (root < 0 || root >= size()) {
      throw new IllegalArgumentException(
          "broadcast: the root must be a rank from 0 to " + (size() - 1) + "; got " + root);
    }
    long bytes = bytes(data);
    return put(
        rank() == root ? bytes : 0, stream -> nccl.broadcast(data.address(), bytes, root, stream));
  }

  // ---- the rest

  @Override
  public int rank() {
    return host.rank();
  }

  @Override
  public int size() {
    return host.size();
  }

  @Override
  public Device device() {
    return backend.device();
  }

  @Override
  public String description() {
    return version + " on " + backend.device() + ", with " + host.description();
  }

  @Override
  public void barrier() {
    host.barrier();
  }

  @Override
  public byte[][] exchange(byte[] message) {
    return host.exchange(message);
  }

  @Override
  public void abort(String message, int exitCode) {
    try {
      nccl.abort(); // else the device waits for ranks that do not come
    } finally {
      host.abort(message, exitCode);
    }
  }

  /** Operations and bytes of both; the time of those on the device is not known to the host. */
  @Override
  public Traffic traffic() {
    Traffic other = host.traffic();
    return new Traffic(
        other.operations() + operations.get(),
        other.bytes() + sent.get(),
        other.seconds(),
        other.waited());
  }

  @Override
  public void close() {
    try {
      backend.synchronize();
      stream(backend);
      nccl.close();
    } finally {
      host.close();
    }
  }
}
