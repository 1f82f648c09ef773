// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Collectives over something that carries bytes between processes. A thread of its own, the only
 * one that uses the transport, takes the operations one after another.
 *
 * <p>A sum is taken in two halves: each rank gets its segment from all others and adds them in the
 * order of the ranks; then, if all want all, the sums are gathered. That moves 2 (n-1)/n of the
 * data, the least there can be, and {@link #reduceScatter} gives to the bit what {@link #allReduce}
 * does.
 */
final class HostCollectives implements Collectives {
  /** An operation that waits for its turn. */
  private record Task(
      String name,
      @Nullable Tensor data,
      Runnable body,
      CompletableFuture<@Nullable Void> done,
      boolean last) {
    void run(@Nullable CollectiveException failure) {
      try {
        if (failure != null) {
          throw failure;
        }
        body.run();
      } finally {
        if (data != null) {
          data.storage().release(); // held since the operation was asked for
        }
      }
    }
  }

  private static final long GAP = 64;

  private final LinkedBlockingQueue<Task> tasks = new LinkedBlockingQueue<>();
  private final Transport transport;
  private final Thread worker;
  private final double timeout;
  private final RankSum sum = new RankSum();
  private final AtomicReference<@Nullable CollectiveException> broken = new AtomicReference<>();
  private final List<Runnable> whenFailed = new CopyOnWriteArrayList<>();
  private final AtomicLong operations = new AtomicLong();
  private final AtomicLong sent = new AtomicLong();
  private final AtomicLong busyNanos = new AtomicLong();
  private final AtomicLong waitedNanos = new AtomicLong();
  private @Nullable Arena arena; // of the worker, for what is received
  private MemorySegment buffer = MemorySegment.NULL;
  private long began; // when the operation under way began
  private volatile boolean closed;

  /**
   * Collectives.
   *
   * @param opener makes the transport, on the thread that will use it
   * @param timeout seconds after which an operation is given up
   * @throws CollectiveException if it cannot be made
   */
  HostCollectives(Supplier<Transport> opener, double timeout) {
    CompletableFuture<Transport> opened = new CompletableFuture<>();
    this.timeout = timeout;
    this.worker =
        Thread.ofPlatform().daemon().name("sfumato-ranks").start(() -> open(opener, opened));
    this.transport = get(opened);
  }

  private void open(Supplier<Transport> opener, CompletableFuture<Transport> opened) {
    Transport own;
    try {
      own = opener.get();
    } catch (Throwable e) {
      opened.completeExceptionally(e);
      return;
    }
    opened.complete(own);
    work();
    if (broken.get() == null) { // else others are perhaps not there to say good-bye to
      own.close();
    }
  }

  private void work() {
    try (Arena first = Arena.ofConfined()) {
      buffer = first.allocate(64, 64);
      Task task = take();
      while (!task.last) {
        run(task);
        task = take();
      }
    } finally {
      if (arena != null) {
        arena.close();
      }
    }
  }

  private Task take() {
    while (true) {
      try {
        return tasks.take();
      } catch (InterruptedException e) {
        // Nobody else knows this thread; it ends when it is told to.
      }
    }
  }

  private void run(Task task) {
    CollectiveException failure = broken.get();
    began = System.nanoTime();
    try {
      task.run(failure);
      operations.incrementAndGet();
      task.done.complete(null);
    } catch (Throwable e) {
      CollectiveException known =
          e instanceof CollectiveException c
              ? c
              : new CollectiveException(task.name + " failed: " + e, e);
      broken.compareAndSet(null, known);
      task.done.completeExceptionally(known);
    } finally {
      busyNanos.addAndGet(System.nanoTime() - began);
    }
  }

  /** Makes every operation fail from now on, the one under way too. */
  void fail(String reason) {
    if (broken.compareAndSet(null, new CollectiveException(reason))) {
      whenFailed.forEach(Runnable::run);
    }
  }

  /** Has something done, on another thread, when a rank turns out to be lost. */
  void whenFailed(Runnable action) {
    whenFailed.add(action);
  }

  /** Whether nothing will be asked for any more. */
  boolean isClosed() {
    return closed;
  }

  /** Throws the reason if operations fail. */
  void checkAlive() {
    CollectiveException failure = broken.get();
    if (failure != null) {
      throw failure;
    }
  }

  private Transport.Guard guard(String name) {
    return () -> {
      checkAlive();
      double waited = (System.nanoTime() - began) * 1e-9;
      if (waited > timeout) {
        throw new CollectiveException(
            String.format(
                "rank %d has waited %.0f s in %s for other ranks: one of them is lost, hangs, or is"
                    + " doing something else; if it is only slow, -D%s=… allows more seconds",
                rank(), waited, name, Ranks.TIMEOUT));
      }
    };
  }

  /** The same for what works on a tensor, whose memory stays until it is done. */
  private Pending submit(String name, Tensor data, Runnable body) {
    checkOpen(name);
    data.storage().retain();
    return enqueue(name, data, body);
  }

  private Pending submit(String name, Runnable body) {
    checkOpen(name);
    return enqueue(name, null, body);
  }

  private void checkOpen(String name) {
    if (closed) {
      throw new CollectiveException(name + ": these collectives are closed");
    }
  }

  private Pending enqueue(String name, @Nullable Tensor data, Runnable body) {
    CompletableFuture<@Nullable Void> done = new CompletableFuture<>();
    tasks.add(new Task(name, data, body, done, false));
    return () -> {
      long from = System.nanoTime();
      try {
        get(done);
      } finally {
        waitedNanos.addAndGet(System.nanoTime() - from);
      }
    };
  }

  private static <T extends @Nullable Object> T get(CompletableFuture<T> future) {
    try {
      return future.join();
    } catch (CompletionException e) {
      // A new exception, for the trace of the one who waits.
      String reason = e.getCause() == null ? e.toString() : e.getCause().getMessage();
      throw new CollectiveException(reason == null ? e.toString() : reason, e);
    }
  }

  // ---- operations

  @Override
  public Pending allReduce(Tensor data, Reduction reduction) {
    long[] counts = Segments.even(data.numel(), size());
    MemorySegment memory = floating("all-reduce", data);
    return submit(
        "all-reduce",
        data,
        () -> {
          Transport.Guard guard = guard("an all-reduce of " + data.spec());
          scatter(memory, data.dtype(), counts, reduction, guard);
          gather(memory, data.dtype().bytes(), counts, guard);
        });
  }

  @Override
  public Pending reduceScatter(Tensor data, long[] counts, Reduction reduction) {
    MemorySegment memory = floating("reduce-scatter", data);
    checkCounts("reduce-scatter", data, counts);
    return submit(
        "reduce-scatter",
        data,
        () ->
            scatter(
                memory,
                data.dtype(),
                counts,
                reduction,
                guard("a reduce-scatter of " + data.spec())));
  }

  @Override
  public Pending allGather(Tensor data, long[] counts) {
    MemorySegment memory = memory("all-gather", data);
    checkCounts("all-gather", data, counts);
    return submit(
        "all-gather",
        data,
        () ->
            gather(memory, data.dtype().bytes(), counts, guard("an all-gather of " + data.spec())));
  }

  @Override
  public Pending broadcast(Tensor data, int root) {
    MemorySegment memory = memory("broadcast", data);
    if (root < 0 || root >= size()) {
      throw new IllegalArgumentException(
          "broadcast: the root must be a rank from 0 to " + (size() - 1) + "; got " + root);
    }
    return submit(
        "broadcast",
        data,
        () -> {
          Transport.Guard guard = guard("a broadcast of " + data.spec());
          for (long at = 0; at < memory.byteSize(); at += Transport.MOST) {
            long n = Math.min(Transport.MOST, memory.byteSize() - at);
            transport.broadcast(memory.asSlice(at, n), root, guard);
            sent.addAndGet(rank() == root ? n : 0);
          }
        });
  }

  @Override
  public void barrier() {
    submit("barrier", () -> transport.barrier(guard("a barrier"))).await();
  }

  @Override
  public byte[][] exchange(byte[] message) {
    byte[][] result = new byte[size()][];
    submit("exchange", () -> exchange(message, result)).await();
    return result;
  }

  private void exchange(byte[] message, byte[][] result) {
    Transport.Guard guard = this::checkAlive; // others may take their time
    int ranks = size();
    try (Arena own = Arena.ofConfined()) {
      MemorySegment size = own.allocate(ValueLayout.JAVA_INT);
      size.set(ValueLayout.JAVA_INT, 0, message.length);
      MemorySegment sizes = own.allocate(ValueLayout.JAVA_INT, ranks);
      int[] at = new int[ranks];
      int[] bytes = new int[ranks];
      Arrays.setAll(at, r -> 4 * r);
      Arrays.fill(bytes, 4);
      transport.allGather(size, sizes, at, bytes, guard);
      int total = 0;
      for (int r = 0; r < ranks; r++) {
        at[r] = total;
        bytes[r] = sizes.getAtIndex(ValueLayout.JAVA_INT, r);
        total = Math.addExact(total, bytes[r]);
      }
      MemorySegment all = own.allocate(Math.max(1, total));
      MemorySegment mine = own.allocate(Math.max(1, message.length));
      MemorySegment.copy(message, 0, mine, ValueLayout.JAVA_BYTE, 0, message.length);
      transport.allGather(mine.asSlice(0, message.length), all, at, bytes, guard);
      sent.addAndGet((message.length + 4L) * (ranks - 1));
      for (int r = 0; r < ranks; r++) {
        result[r] = all.asSlice(at[r], bytes[r]).toArray(ValueLayout.JAVA_BYTE);
      }
    }
  }

  /** Own segment becomes the sum, piece by piece so that little is held beside the data. */
  private void scatter(
      MemorySegment memory, DType type, long[] counts, Reduction reduction, Transport.Guard guard) {
    int ranks = counts.length;
    long[] starts = Segments.starts(counts);
    int width = type.bytes();
    int piece = Transport.MOST / width / ranks;
    long longest = Arrays.stream(counts).max().orElse(0);
    double factor = reduction == Reduction.MEAN ? 1.0 / ranks : 1;
    for (long done = 0; done < longest; done += piece) {
      int[] sendBytes = new int[ranks];
      int[] sendAt = new int[ranks];
      int[] receiveBytes = new int[ranks];
      int[] receiveAt = new int[ranks];
      int mine = Math.clamp(counts[rank()] - done, 0, piece);
      long packed = 0;
      for (int r = 0; r < ranks; r++) {
        sendBytes[r] = r == rank() ? 0 : width * Math.clamp(counts[r] - done, 0, piece);
        sendAt[r] = (int) packed;
        packed += sendBytes[r];
      }
      int received = 0;
      for (int r = 0; r < ranks; r++) {
        receiveBytes[r] = r == rank() ? 0 : width * mine;
        receiveAt[r] = received;
        received += receiveBytes[r];
      }
      // Pieces for others are packed, since offsets in the data may exceed an int.
      // A gap keeps the two apart: libraries take equal addresses for "in place".
      MemorySegment room = buffer(packed + GAP + received);
      MemorySegment out = room.asSlice(0, packed);
      MemorySegment in = room.asSlice(packed + GAP, received);
      for (int r = 0; r < ranks; r++) {
        MemorySegment.copy(memory, (starts[r] + done) * width, out, sendAt[r], sendBytes[r]);
      }
      transport.allToAll(out, sendAt, sendBytes, in, receiveAt, receiveBytes, guard);
      sent.addAndGet(packed);
      if (mine > 0) {
        MemorySegment own = memory.asSlice((starts[rank()] + done) * width, (long) mine * width);
        MemorySegment[] parts = new MemorySegment[ranks];
        Arrays.setAll(
            parts, r -> r == rank() ? own : in.asSlice(receiveAt[r], (long) mine * width));
        sum.add(parts, own, type, mine, factor);
      }
    }
  }

  private void gather(MemorySegment memory, int width, long[] counts, Transport.Guard guard) {
    int ranks = counts.length;
    long[] starts = Segments.starts(counts);
    int piece = Transport.MOST / width / ranks;
    long longest = Arrays.stream(counts).max().orElse(0);
    for (long done = 0; done < longest; done += piece) {
      int[] at = new int[ranks];
      int[] bytes = new int[ranks];
      int total = 0;
      for (int r = 0; r < ranks; r++) {
        bytes[r] = width * Math.clamp(counts[r] - done, 0, piece);
        at[r] = total;
        total += bytes[r];
      }
      int own = bytes[rank()];
      MemorySegment room = buffer((long) total + GAP + own);
      MemorySegment mine = room.asSlice((long) total + GAP, own);
      MemorySegment.copy(memory, (starts[rank()] + done) * width, mine, 0, own);
      transport.allGather(mine, room.asSlice(0, total), at, bytes, guard);
      sent.addAndGet((long) own * (ranks - 1));
      for (int r = 0; r < ranks; r++) {
        if (r != rank()) {
          MemorySegment.copy(room, at[r], memory, (starts[r] + done) * width, bytes[r]);
        }
      }
    }
  }

  private MemorySegment buffer(long bytes) {
    if (buffer.byteSize() < bytes) {
      if (arena != null) {
        arena.close();
      }
      arena = Arena.ofConfined();
      buffer = arena.allocate(bytes, 64);
    }
    return buffer;
  }

  // ---- checks

  private static MemorySegment floating(String operation, Tensor data) {
    if (!data.dtype().isFloating()) {
      throw new IllegalArgumentException(
          operation + ": only floating values are summed; got " + data.spec());
    }
    return memory(operation, data);
  }

  private static MemorySegment memory(String operation, Tensor data) {
    if (!data.device().isCpu() || !data.layout().isContiguous()) {
      throw new IllegalArgumentException(
          operation + ": the tensor must be contiguous and on the CPU; got " + data.spec());
    }
    return MemorySegment.ofAddress(data.address()).reinterpret(data.numel() * data.dtype().bytes());
  }

  private void checkCounts(String operation, Tensor data, long[] counts) {
    if (counts.length != size() || Segments.starts(counts)[size()] != data.numel()) {
      throw new IllegalArgumentException(
          String.format(
              "%s: %d ranks need as many segments, which make up %s; got %s",
              operation, size(), data.spec(), Arrays.toString(counts)));
    }
  }

  // ---- the rest

  @Override
  public int rank() {
    return transport.rank();
  }

  @Override
  public int size() {
    return transport.size();
  }

  @Override
  public String description() {
    return transport.description();
  }

  @Override
  public Traffic traffic() {
    return new Traffic(
        operations.get(), sent.get(), busyNanos.get() * 1e-9, waitedNanos.get() * 1e-9);
  }

  @Override
  public void abort(String message, int exitCode) {
    fail(message);
    CompletableFuture<@Nullable Void> done = new CompletableFuture<>();
    CompletableFuture<@Nullable Void> aborted =
        done.handle(
            (nothing, e) -> {
              transport.abort(exitCode);
              return null;
            });
    tasks.add(new Task("abort", null, () -> {}, done, false)); // fails, after all that came before
    try {
      aborted.get(2, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } catch (ExecutionException | TimeoutException e) {
      // Aborted as far as could be.
    }
  }

  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    tasks.add(new Task("close", null, () -> {}, new CompletableFuture<>(), true));
    try {
      worker.join(TimeUnit.SECONDS.toMillis(10));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
