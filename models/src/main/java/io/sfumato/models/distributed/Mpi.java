// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.concurrent.locks.LockSupport;

/**
 * Carries bytes by Open MPI. Operations are begun (MPI_Ialltoallv, …) and asked for, rather than
 * waited for inside the library, which would keep a core busy and could not be ended.
 */
final class Mpi implements Transport {
  /** All calls come from the thread that initialised MPI. */
  private static final int THREAD_FUNNELED = 1;

  private static final int SPINS = 200; // looks at an operation before the thread lets others run
  private static final long SHORTEST_NAP = 20_000; // nanoseconds
  private static final long LONGEST_NAP = 500_000;

  private final Arena arena = Arena.ofConfined();
  private final MemorySegment world;
  private final MemorySegment bytes;
  private final MethodHandle errorString;
  private final MethodHandle allToAll;
  private final MethodHandle allGather;
  private final MethodHandle broadcast;
  private final MethodHandle barrier;
  private final MethodHandle test;
  private final MethodHandle abort;
  private final MethodHandle finish;
  private final MemorySegment request;
  private final MemorySegment flag;
  private final MemorySegment ignore = MemorySegment.NULL; // MPI_STATUS_IGNORE
  private final MemorySegment[] arrays;
  private final int rank;
  private final int size;
  private final String version;

  /**
   * Initialises MPI; this thread must make all calls.
   *
   * @throws CollectiveException if that fails
   */
  Mpi(MpiLibrary mpi) {
    var pointer = ValueLayout.ADDRESS;
    var number = ValueLayout.JAVA_INT;
    world = mpi.handle("ompi_mpi_comm_world");
    bytes = mpi.handle("ompi_mpi_byte");
    errorString = mpi.function("MPI_Error_string", number, pointer, pointer);
    allToAll =
        mpi.function(
            "MPI_Ialltoallv",
            pointer,
            pointer,
            pointer,
            pointer,
            pointer,
            pointer,
            pointer,
            pointer,
            pointer,
            pointer);
    allGather =
        mpi.function(
            "MPI_Iallgatherv",
            pointer,
            number,
            pointer,
            pointer,
            pointer,
            pointer,
            pointer,
            pointer,
            pointer);
    broadcast = mpi.function("MPI_Ibcast", pointer, number, pointer, number, pointer, pointer);
    barrier = mpi.function("MPI_Ibarrier", pointer, pointer);
    test = mpi.function("MPI_Test", pointer, pointer, pointer);
    abort = mpi.function("MPI_Abort", pointer, number);
    finish = mpi.function("MPI_Finalize");
    MethodHandle initialize = mpi.function("MPI_Init_thread", pointer, pointer, number, pointer);
    MethodHandle setHandler = mpi.function("MPI_Comm_set_errhandler", pointer, pointer);
    MethodHandle rankOf = mpi.function("MPI_Comm_rank", pointer, pointer);
    MethodHandle sizeOf = mpi.function("MPI_Comm_size", pointer, pointer);
    MethodHandle versionOf = mpi.function("MPI_Get_library_version", pointer, pointer);
    MemorySegment errorsReturn = mpi.handle("ompi_mpi_errors_return");
    request = arena.allocate(pointer);
    flag = arena.allocate(number);
    MemorySegment none = MemorySegment.NULL;
    MemorySegment result = arena.allocate(number);
    call(
        "MPI_Init_thread", () -> (int) initialize.invokeExact(none, none, THREAD_FUNNELED, result));
    int level = result.get(number, 0);
    if (level < THREAD_FUNNELED) {
      throw new CollectiveException(
          "MPI: "
              + mpi.name()
              + " was built without support for threads (MPI_THREAD_FUNNELED is needed)");
    }
    call("MPI_Comm_set_errhandler", () -> (int) setHandler.invokeExact(world, errorsReturn));
    call("MPI_Comm_rank", () -> (int) rankOf.invokeExact(world, result));
    rank = result.get(number, 0);
    call("MPI_Comm_size", () -> (int) sizeOf.invokeExact(world, result));
    size = result.get(number, 0);
    MemorySegment text = arena.allocate(8192);
    call("MPI_Get_library_version", () -> (int) versionOf.invokeExact(text, result));
    String all = text.getString(0);
    version = all.contains(",") ? all.substring(0, all.indexOf(',')) : all;
    arrays = new MemorySegment[4];
    Arrays.setAll(arrays, i -> arena.allocate(number, size));
  }

  @Override
  public int rank() {
    return rank;
  }

  @Override
  public int size() {
    return size;
  }

  @Override
  public String description() {
    return version + ", " + size + " ranks";
  }

  @Override
  public void allToAll(
      MemorySegment send,
      int[] sendAt,
      int[] sendBytes,
      MemorySegment receive,
      int[] receiveAt,
      int[] receiveBytes,
      Guard guard) {
    MemorySegment counts = array(0, sendBytes);
    MemorySegment at = array(1, sendAt);
    MemorySegment receiveCounts = array(2, receiveBytes);
    MemorySegment places = array(3, receiveAt);
    call(
        "MPI_Ialltoallv",
        () ->
            (int)
                allToAll.invokeExact(
                    send,
                    counts,
                    at,
                    bytes,
                    receive,
                    receiveCounts,
                    places,
                    bytes,
                    world,
                    request));
    await("MPI_Ialltoallv", guard);
  }

  @Override
  public void allGather(MemorySegment own, MemorySegment all, int[] at, int[] sizes, Guard guard) {
    MemorySegment counts = array(0, sizes);
    MemorySegment places = array(1, at);
    call(
        "MPI_Iallgatherv",
        () ->
            (int)
                allGather.invokeExact(
                    own, (int) own.byteSize(), bytes, all, counts, places, bytes, world, request));
    await("MPI_Iallgatherv", guard);
  }

  @Override
  public void broadcast(MemorySegment data, int root, Guard guard) {
    call(
        "MPI_Ibcast",
        () ->
            (int) broadcast.invokeExact(data, (int) data.byteSize(), bytes, root, world, request));
    await("MPI_Ibcast", guard);
  }

  @Override
  public void barrier(Guard guard) {
    call("MPI_Ibarrier", () -> (int) barrier.invokeExact(world, request));
    await("MPI_Ibarrier", guard);
  }

  private MemorySegment array(int which, int[] values) {
    MemorySegment.copy(values, 0, arrays[which], ValueLayout.JAVA_INT, 0, values.length);
    return arrays[which];
  }

  /** Asks until it is done, at first often, then with naps that grow. */
  private void await(String operation, Guard guard) {
    int looks = 0;
    long nap = SHORTEST_NAP;
    while (true) {
      call(operation, () -> (int) test.invokeExact(request, flag, ignore));
      if (flag.get(ValueLayout.JAVA_INT, 0) != 0) {
        return;
      }
      guard.check();
      looks++;
      if (looks > SPINS) {
        LockSupport.parkNanos(nap);
        nap = Math.min(LONGEST_NAP, nap + nap / 8);
      } else {
        Thread.onSpinWait();
      }
    }
  }

  @Override
  public void abort(int exitCode) {
    call("MPI_Abort", () -> (int) abort.invokeExact(world, exitCode));
  }

  @Override
  public void close() {
    call("MPI_Finalize", () -> (int) finish.invokeExact());
    arena.close();
  }

  private void call(String function, NativeCall<Integer> call) {
    int status = NativeCall.result(function, call);
    if (status != 0) {
      throw new CollectiveException(function + ": " + text(status));
    }
  }

  private String text(int status) {
    try (Arena own = Arena.ofConfined()) {
      MemorySegment message = own.allocate(8192);
      MemorySegment length = own.allocate(ValueLayout.JAVA_INT);
      int failed =
          NativeCall.result(
              "MPI_Error_string", () -> (int) errorString.invokeExact(status, message, length));
      return failed == 0 ? message.getString(0, StandardCharsets.UTF_8) : "error " + status;
    }
  }
}
