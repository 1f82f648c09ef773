// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import io.sfumato.tensor.Scope;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Function;

/** Ranks that are threads of one JVM: everything but the carrying of bytes is the real thing. */
final class ThreadRanks {
  private final MemorySegment[] sent;
  private final int[][] places;
  private final CyclicBarrier gate;
  private volatile boolean lost;

  private ThreadRanks(int size) {
    sent = new MemorySegment[size];
    places = new int[size][];
    gate = new CyclicBarrier(size);
  }

  /** Runs {@code body} as every rank, each in a thread of its own, and returns the results. */
  static <T> List<T> run(int size, Function<Collectives, T> body) {
    return run(size, 60, body);
  }

  static <T> List<T> run(int size, double timeout, Function<Collectives, T> body) {
    ThreadRanks shared = new ThreadRanks(size);
    List<T> results = new ArrayList<>(Collections.nCopies(size, null));
    Throwable[] failures = new Throwable[size];
    Thread[] threads = new Thread[size];
    for (int r = 0; r < size; r++) {
      int rank = r;
      threads[r] =
          Thread.ofPlatform()
              .start(
                  () -> {
                    try (Collectives ranks =
                            new HostCollectives(() -> shared.new Member(rank), timeout);
                        Scope scope = Scope.open()) {
                      results.set(rank, body.apply(ranks));
                    } catch (Throwable e) {
                      failures[rank] = e;
                      shared.lost = true;
                    }
                  });
    }
    for (Thread thread : threads) {
      try {
        thread.join();
      } catch (InterruptedException e) {
        throw new IllegalStateException(e);
      }
    }
    AssertionError error = null;
    for (int r = 0; r < size; r++) {
      if (failures[r] != null) {
        error = error == null ? new AssertionError("rank " + r + ": " + failures[r]) : error;
        error.addSuppressed(failures[r]);
      }
    }
    if (error != null) {
      throw error;
    }
    return results;
  }

  /** The same memory for all threads. */
  private static MemorySegment shared(MemorySegment own) {
    return MemorySegment.ofAddress(own.address()).reinterpret(own.byteSize());
  }

  /** One rank. */
  private final class Member implements Transport {
    private final int rank;

    Member(int rank) {
      this.rank = rank;
    }

    @Override
    public int rank() {
      return rank;
    }

    @Override
    public int size() {
      return sent.length;
    }

    @Override
    public String description() {
      return "threads";
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
      sent[rank] = shared(send);
      places[rank] = new int[2 * sendAt.length];
      System.arraycopy(sendAt, 0, places[rank], 0, sendAt.length);
      System.arraycopy(sendBytes, 0, places[rank], sendAt.length, sendAt.length);
      barrier(guard);
      for (int r = 0; r < size(); r++) {
        if (places[r][size() + rank] != receiveBytes[r]) {
          throw new CollectiveException(
              "rank " + rank + " expects another size than " + r + " sends");
        }
        MemorySegment.copy(sent[r], places[r][rank], receive, receiveAt[r], receiveBytes[r]);
      }
      barrier(guard);
    }

    @Override
    public void broadcast(MemorySegment data, int root, Guard guard) {
      sent[rank] = shared(data);
      barrier(guard);
      if (rank != root) {
        data.copyFrom(sent[root]);
      }
      barrier(guard);
    }

    @Override
    public void allGather(
        MemorySegment own, MemorySegment all, int[] at, int[] bytes, Guard guard) {
      sent[rank] = shared(own);
      barrier(guard);
      for (int r = 0; r < size(); r++) {
        if (sent[r].byteSize() != bytes[r]) {
          throw new CollectiveException(
              "sizes " + Arrays.toString(bytes) + " but rank " + r + " has " + sent[r].byteSize());
        }
        MemorySegment.copy(sent[r], 0, all, at[r], bytes[r]);
      }
      barrier(guard);
    }

    @Override
    public void barrier(Guard guard) {
      while (true) {
        try {
          gate.await(lost ? 1 : 5000, TimeUnit.MILLISECONDS);
          return;
        } catch (InterruptedException | BrokenBarrierException | TimeoutException e) {
          guard.check();
          throw new CollectiveException("a rank is gone", e);
        }
      }
    }

    @Override
    public void abort(int exitCode) {
      lost = true;
    }

    @Override
    public void close() {}
  }
}
