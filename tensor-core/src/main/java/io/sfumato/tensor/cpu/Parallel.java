// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * A fork-join loop over one fixed pool of daemon threads. The caller takes part as worker 0;
 * workers spin for two milliseconds between loops, then park: waking one costs as much as a small
 * kernel. Loops do not nest: a loop started inside a body runs on the calling worker alone.
 *
 * <p>Bodies get slices of work and never read scoped values, tensors or scopes.
 */
public final class Parallel {
  /** Spins between looks at the clock, and how long a worker spins before it sleeps. */
  private static final int SPINS = 64;

  private static final long SPIN_NANOS = 2_000_000;
  private static volatile Pool pool = new Pool(defaultThreads());
  private static final ThreadLocal<Integer> WORKER = new ThreadLocal<>();

  private Parallel() {}

  /** Work on the indices {@code begin} (inclusive) to {@code end} (exclusive). */
  @FunctionalInterface
  public interface Body {
    /**
     * Runs one slice.
     *
     * @param begin first index
     * @param end one past the last index
     * @param worker the number of the executing worker, 0 to {@code threads() - 1}
     */
    void run(int begin, int end, int worker);
  }

  /** The number of workers, the caller included. */
  public static int threads() {
    return pool.size;
  }

  /**
   * Sets the number of workers.
   *
   * @throws IllegalArgumentException if {@code threads} is not positive
   */
  public static synchronized void setThreads(int threads) {
    if (threads < 1) {
      throw new IllegalArgumentException("threads must be positive; got " + threads);
    }
    if (threads != pool.size) {
      Pool old = pool;
      pool = new Pool(threads);
      old.stop();
    }
  }

  /**
   * Runs {@code body} over {@code [0, n)} in chunks of {@code grain} indices. Each worker has a
   * share of neighbouring chunks, the same one in every loop of this length, which it takes in
   * order: what it left in the caches of its core, it finds there again. Who is done goes on with
   * what others have not begun. Results must not depend on the assignment.
   *
   * @param n the number of indices
   * @param grain indices per chunk, at least 1
   * @param body the work
   */
  public static void forRange(int n, int grain, Body body) {
    if (n <= 0) {
      return;
    }
    Pool p = pool;
    Integer nested = WORKER.get();
    int chunks = (int) (((long) n + grain - 1) / grain);
    if (nested != null || p.size == 1 || chunks == 1 || !p.busy.compareAndSet(false, true)) {
      body.run(0, n, nested == null ? 0 : nested);
      return;
    }
    try {
      p.run(new Job(n, grain, chunks, p.size, body));
    } finally {
      p.busy.set(false);
    }
  }

  private static int defaultThreads() {
    return Math.max(1, Runtime.getRuntime().availableProcessors());
  }

  /** One loop. Workers may join until it is closed; the caller waits for those that did. */
  private static final class Job {
    private static final int CLOSED = -1;

    /** Between the counters of two shares, so that no cache line has both. */
    private static final int APART = 32;

    final int n;
    final int grain;
    final int chunks;
    final int shares;
    final Body body;

    /** Chunks that were taken of each share. */
    final AtomicIntegerArray taken;

    final AtomicInteger helpers = new AtomicInteger();
    final AtomicReference<@Nullable Throwable> failure = new AtomicReference<>();

    Job(int n, int grain, int chunks, int workers, Body body) {
      this.n = n;
      this.grain = grain;
      this.chunks = chunks;
      this.shares = Math.min(workers, chunks);
      this.body = body;
      this.taken = new AtomicIntegerArray(shares * APART);
    }

    /** The first chunk of a share. */
    private int first(int share) {
      return (int) ((long) chunks * share / shares);
    }

    /** Takes part unless the loop is closed. */
    void help(int worker) {
      int h = helpers.get();
      while (h != CLOSED) {
        if (helpers.compareAndSet(h, h + 1)) {
          try {
            work(worker);
          } finally {
            helpers.decrementAndGet();
          }
          return;
        }
        h = helpers.get();
      }
    }

    void work(int worker) {
      try {
        for (int i = 0; i < shares; i++) {
          work(worker, (worker + i) % shares);
        }
      } catch (Throwable t) {
        failure.compareAndSet(null, t);
      }
    }

    private void work(int worker, int share) {
      int first = first(share);
      int count = first(share + 1) - first;
      while (failure.get() == null && taken.get(share * APART) < count) {
        int chunk = taken.getAndIncrement(share * APART);
        if (chunk < count) {
          int begin = (first + chunk) * grain;
          body.run(begin, (int) Math.min(n, (long) begin + grain), worker);
        }
      }
    }

    /**
     * Waits for the helpers and lets no more in. A worker that the system never gave a core has not
     * joined, and is not waited for.
     */
    void close() {
      while (!helpers.compareAndSet(0, CLOSED)) {
        Thread.onSpinWait();
      }
    }
  }

  private static final class Pool {
    final int size;
    final AtomicBoolean busy = new AtomicBoolean();
    private final Thread[] threads;
    private final AtomicIntegerArray parked;
    private volatile @Nullable Job job;
    private volatile int generation;
    private volatile boolean stopped;

    Pool(int size) {
      this.size = size;
      this.threads = new Thread[size];
      this.parked = new AtomicIntegerArray(size);
      for (int i = 1; i < size; i++) {
        int worker = i;
        threads[i] = new Thread(() -> loop(worker), "sfumato-cpu-" + i);
        threads[i].setDaemon(true);
        threads[i].start();
      }
    }

    @SuppressWarnings("NonAtomicVolatileUpdate") // one caller at a time holds busy
    void run(Job j) {
      job = j;
      generation++;
      for (int i = 1; i < size; i++) {
        if (parked.get(i) != 0) {
          LockSupport.unpark(threads[i]);
        }
      }
      WORKER.set(0);
      try {
        j.work(0);
      } finally {
        WORKER.remove();
        j.close();
        job = null;
      }
      Throwable t = j.failure.get();
      if (t instanceof RuntimeException e) {
        throw e;
      }
      if (t instanceof Error e) {
        throw e;
      }
    }

    private void loop(int worker) {
      WORKER.set(worker);
      int seen = 0;
      while (!stopped) {
        spin(seen);
        while (generation == seen && !stopped) {
          parked.set(worker, 1);
          if (generation == seen && !stopped) {
            LockSupport.park(this);
          }
          parked.set(worker, 0);
        }
        seen = generation;
        Job current = job;
        if (current != null) {
          current.help(worker);
        }
      }
    }

    /** Waits a moment for a loop newer than {@code seen}. */
    private void spin(int seen) {
      long end = System.nanoTime() + SPIN_NANOS;
      do {
        for (int i = 0; i < SPINS; i++) {
          if (generation != seen || stopped) {
            return;
          }
          Thread.onSpinWait();
        }
      } while (System.nanoTime() < end);
    }

    void stop() {
      stopped = true;
      for (int i = 1; i < size; i++) {
        LockSupport.unpark(threads[i]);
      }
    }
  }
}
