// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import io.sfumato.models.distributed.Collectives.Reduction;
import io.sfumato.tensor.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * One rank's communicator of NCCL. All operations are in place on device memory, and are put on a
 * stream; the memory may be used by what comes on that stream later. The device must be current on
 * the calling thread.
 */
final class Nccl implements AutoCloseable {
  /** Bytes of {@code ncclUniqueId}. */
  static final int ID_BYTES = 128;

  private static final int UINT8 = 1; // of ncclDataType_t
  private static final int SUM = 0; // of ncclRedOp_t
  private static final int MEAN = 4;

  private static final ValueLayout.OfInt NUMBER = ValueLayout.JAVA_INT;
  private static final ValueLayout.OfLong COUNT = ValueLayout.JAVA_LONG; // size_t
  private static final ValueLayout POINTER = ValueLayout.ADDRESS;
  private static final MemoryLayout ID =
      MemoryLayout.structLayout(MemoryLayout.sequenceLayout(ID_BYTES, ValueLayout.JAVA_BYTE));

  private final MethodHandle errorString;
  private final MethodHandle allReduce;
  private final MethodHandle reduce;
  private final MethodHandle reduceScatter;
  private final MethodHandle broadcast;
  private final MethodHandle allGather;
  private final MethodHandle groupStart;
  private final MethodHandle groupEnd;
  private final MethodHandle asyncError;
  private final MethodHandle abort;
  private final MethodHandle destroy;
  private final NcclLibrary library;
  private final int rank;
  private final int size;
  private volatile MemorySegment communicator = MemorySegment.NULL;

  /**
   * Joins the communicator of an id; returns when all ranks have.
   *
   * @param id what {@link #newId} gave one rank
   * @throws CollectiveException if NCCL cannot
   */
  Nccl(NcclLibrary library, byte[] id, int rank, int size) {
    this.library = library;
    this.rank = rank;
    this.size = size;
    errorString = library.text("ncclGetErrorString", NUMBER);
    allReduce =
        library.function(
            "ncclAllReduce", POINTER, POINTER, COUNT, NUMBER, NUMBER, POINTER, POINTER);
    reduce =
        library.function(
            "ncclReduce", POINTER, POINTER, COUNT, NUMBER, NUMBER, NUMBER, POINTER, POINTER);
    reduceScatter =
        library.function(
            "ncclReduceScatter", POINTER, POINTER, COUNT, NUMBER, NUMBER, POINTER, POINTER);
    broadcast =
        library.function(
            "ncclBroadcast", POINTER, POINTER, COUNT, NUMBER, NUMBER, POINTER, POINTER);
    allGather =
        library.function("ncclAllGather", POINTER, POINTER, COUNT, NUMBER, POINTER, POINTER);
    groupStart = library.function("ncclGroupStart");
    groupEnd = library.function("ncclGroupEnd");
    asyncError = library.function("ncclCommGetAsyncError", POINTER, POINTER);
    abort = library.function("ncclCommAbort", POINTER);
    destroy = library.function("ncclCommDestroy", POINTER);
    MethodHandle join = library.function("ncclCommInitRank", POINTER, NUMBER, ID, NUMBER);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(POINTER);
      MemorySegment bytes = arena.allocate(ID);
      MemorySegment.copy(id, 0, bytes, ValueLayout.JAVA_BYTE, 0, ID_BYTES);
      call("ncclCommInitRank", () -> (int) join.invokeExact(result, size, bytes, rank));
      communicator = result.get(ValueLayout.ADDRESS, 0);
    }
  }

  /** What all ranks of a communicator must know; one of them makes it. */
  static byte[] newId(NcclLibrary library) {
    MethodHandle make = library.function("ncclGetUniqueId", POINTER);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment id = arena.allocate(ID);
      int status = NativeCall.result("ncclGetUniqueId", () -> (int) make.invokeExact(id));
      if (status != 0) {
        throw new CollectiveException("NCCL: ncclGetUniqueId on rank 0: error " + status);
      }
      return id.toArray(ValueLayout.JAVA_BYTE);
    }
  }

  /** NCCL's number of a type that it sums. */
  private static int number(DType type) {
    return switch (type) {
      case F16 -> 6;
      case F32 -> 7;
      case F64 -> 8;
      case BF16 -> 9;
      default -> throw new IllegalArgumentException("NCCL sums floating values; got " + type);
    };
  }

  private static int number(Reduction reduction) {
    return reduction == Reduction.MEAN ? MEAN : SUM;
  }

  void allReduce(long data, long count, DType type, Reduction reduction, long stream) {
    MemorySegment at = MemorySegment.ofAddress(data);
    MemorySegment on = MemorySegment.ofAddress(stream);
    int kind = number(type);
    int how = number(reduction);
    call(
        "ncclAllReduce",
        () -> (int) allReduce.invokeExact(at, at, count, kind, how, communicator(), on));
  }

  /** Rank r's segment becomes the sum of all ranks' on rank r; other segments stay. */
  void reduceScatter(long data, long[] counts, DType type, Reduction reduction, long stream) {
    MemorySegment on = MemorySegment.ofAddress(stream);
    int kind = number(type);
    int how = number(reduction);
    long[] starts = Segments.starts(counts);
    if (areEqual(counts)) {
      MemorySegment all = MemorySegment.ofAddress(data);
      MemorySegment own = MemorySegment.ofAddress(data + starts[rank] * type.bytes());
      call(
          "ncclReduceScatter",
          () ->
              (int) reduceScatter.invokeExact(all, own, counts[0], kind, how, communicator(), on));
      return;
    }
    group(
        () -> {
          for (int r = 0; r < counts.length; r++) {
            int root = r;
            MemorySegment at = MemorySegment.ofAddress(data + starts[r] * type.bytes());
            if (counts[r] > 0) {
              call(
                  "ncclReduce",
                  () ->
                      (int)
                          reduce.invokeExact(
                              at, at, counts[root], kind, how, root, communicator(), on));
            }
          }
        });
  }

  /** Everybody gets the segment of each rank; sizes in bytes. */
  void allGather(long data, long[] bytes, long stream) {
    MemorySegment on = MemorySegment.ofAddress(stream);
    long[] starts = Segments.starts(bytes);
    if (areEqual(bytes)) {
      MemorySegment all = MemorySegment.ofAddress(data);
      MemorySegment own = MemorySegment.ofAddress(data + starts[rank]);
      call(
          "ncclAllGather",
          () -> (int) allGather.invokeExact(own, all, bytes[0], UINT8, communicator(), on));
      return;
    }
    group(
        () -> {
          for (int r = 0; r < bytes.length; r++) {
            if (bytes[r] > 0) {
              broadcast(data + starts[r], bytes[r], r, stream);
            }
          }
        });
  }

  void broadcast(long data, long bytes, int root, long stream) {
    MemorySegment at = MemorySegment.ofAddress(data);
    MemorySegment on = MemorySegment.ofAddress(stream);
    call(
        "ncclBroadcast",
        () -> (int) broadcast.invokeExact(at, at, bytes, UINT8, root, communicator(), on));
  }

  private static boolean areEqual(long[] counts) {
    for (long count : counts) {
      if (count != counts[0]) {
        return false;
      }
    }
    return true;
  }

  /** One operation of several. The group ends whatever happens, or NCCL would wait for the rest. */
  private void group(Runnable calls) {
    call("ncclGroupStart", () -> (int) groupStart.invokeExact());
    try {
      calls.run();
    } catch (RuntimeException | Error e) {
      try {
        call("ncclGroupEnd", () -> (int) groupEnd.invokeExact());
      } catch (CollectiveException second) {
        e.addSuppressed(second);
      }
      throw e;
    }
    call("ncclGroupEnd", () -> (int) groupEnd.invokeExact());
  }

  /**
   * Notices what went wrong since an operation was put on its stream.
   *
   * @throws CollectiveException with NCCL's reason
   */
  void check() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment result = arena.allocate(NUMBER);
      call("ncclCommGetAsyncError", () -> (int) asyncError.invokeExact(communicator(), result));
      int status = result.get(NUMBER, 0);
      if (status != 0) {
        throw failure("an operation under way", status);
      }
    }
  }

  private MemorySegment communicator() {
    MemorySegment own = communicator;
    if (own.address() == 0) {
      throw new CollectiveException(
          "NCCL: the communicator of rank " + rank + " of " + size + " is closed");
    }
    return own;
  }

  /** It, for the last time; NULL if that was before. */
  private synchronized MemorySegment take() {
    MemorySegment own = communicator;
    communicator = MemorySegment.NULL;
    return own;
  }

  /**
   * Ends what is under way, on this rank; what others wait for they get no more. Any thread may
   * call it, while another waits for the device.
   */
  void abort() {
    MemorySegment own = take();
    if (own.address() != 0) {
      call("ncclCommAbort", () -> (int) abort.invokeExact(own));
    }
  }

  @Override
  public void close() {
    MemorySegment own = take();
    if (own.address() != 0) {
      call("ncclCommDestroy", () -> (int) destroy.invokeExact(own));
    }
  }

  private void call(String function, NativeCall<Integer> call) {
    int status = NativeCall.result(function, call);
    if (status != 0) {
      throw failure(function, status);
    }
  }

  private CollectiveException failure(String function, int status) {
    String detail = lastError();
    return new CollectiveException(
        String.format(
            "NCCL: %s on rank %d of %d: %s%s; NCCL_DEBUG=INFO makes NCCL say more",
            function, rank, size, text(status), detail.isEmpty() ? "" : " (" + detail + ")"));
  }

  private String text(int status) {
    MemorySegment message =
        NativeCall.result(
            "ncclGetErrorString", () -> (MemorySegment) errorString.invokeExact(status));
    return message.address() == 0 ? "error " + status : message.getString(0);
  }

  /** What NCCL 2.13 and later say of the last failure in this process. */
  private String lastError() {
    if (!library.has("ncclGetLastError")) {
      return "";
    }
    MethodHandle last = library.text("ncclGetLastError", POINTER);
    MemorySegment none = MemorySegment.NULL;
    MemorySegment message =
        NativeCall.result("ncclGetLastError", () -> (MemorySegment) last.invokeExact(none));
    return message.address() == 0 ? "" : message.getString(0).strip();
  }
}
