// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.batch;

import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.function.LongFunction;

/**
 * Makes the parts of batches ahead of when they are needed, each on a virtual thread of its own, a
 * few at a time. At most {@code ahead} batches are begun beyond the last one that was taken;
 * nothing is begun before that one is taken, so memory is bounded however slow the taker is. Nobody
 * polls.
 *
 * <p>An exception of a part is thrown when its batch is taken, not before. Batches may be taken in
 * any order; what was made ahead and does not lie ahead of the new place is given up.
 *
 * @param <T> a part
 */
public final class Prefetcher<T> implements AutoCloseable {
  private static final Logger LOG = System.getLogger(Prefetcher.class.getName());
  private static final int CLOSE_SECONDS = 60;

  private final LongFunction<List<Callable<T>>> parts;
  private final int ahead;
  private final Semaphore workers;
  private final ExecutorService threads;
  private final TreeMap<Long, List<Future<T>>> pending = new TreeMap<>();
  private boolean closed;

  /**
   * A prefetcher; nothing is begun yet.
   *
   * @param parts how the parts of a batch are made; must not throw
   * @param ahead how many batches are begun beyond the last one taken
   * @param workers how many parts are made at a time
   */
  public Prefetcher(LongFunction<List<Callable<T>>> parts, int ahead, int workers) {
    if (ahead < 1 || workers < 1) {
      throw new IllegalArgumentException(
          "ahead and workers must be positive; got " + ahead + " and " + workers);
    }
    this.parts = parts;
    this.ahead = ahead;
    this.workers = new Semaphore(workers, true); // the batch that is needed first comes first
    this.threads =
        Executors.newThreadPerTaskExecutor(Thread.ofVirtual().name("prefetch-", 0).factory());
  }

  /**
   * The parts of a batch. Waits for those that are not ready, and begins the batches after it.
   *
   * @param number which batch
   * @return its parts, in order
   * @throws IllegalStateException if this object is closed, now or while this waits, or the thread
   *     is interrupted (it stays so)
   */
  public List<T> take(long number) {
    List<Future<T>> wanted = begin(number);
    List<T> result = new ArrayList<>(wanted.size());
    try {
      for (Future<T> part : wanted) {
        result.add(part.get());
      }
      return result;
    } catch (InterruptedException e) {
      cancel(wanted);
      Thread.currentThread().interrupt();
      throw new IllegalStateException("interrupted while waiting for batch " + number, e);
    } catch (CancellationException e) {
      requireOpen(number, e);
      throw e;
    } catch (ExecutionException e) {
      cancel(wanted);
      requireOpen(number, e);
      if (e.getCause() instanceof Error error) {
        throw error;
      }
      if (e.getCause() instanceof RuntimeException known) {
        throw known;
      }
      throw new IllegalStateException("batch " + number + ": " + e.getCause(), e);
    }
  }

  /** Whoever waits while this object is closed by another thread hears that, and no more. */
  private synchronized void requireOpen(long number, Exception cause) {
    if (closed) {
      throw new IllegalStateException(
          "this prefetcher was closed while batch " + number + " was waited for", cause);
    }
  }

  private synchronized List<Future<T>> begin(long number) {
    if (closed) {
      throw new IllegalStateException("this prefetcher is closed");
    }
    giveUp(pending.headMap(number));
    giveUp(pending.tailMap(number + ahead, false));
    for (long n = number; n <= number + ahead; n++) {
      if (!pending.containsKey(n)) {
        pending.put(n, submit(n));
      }
    }
    return Objects.requireNonNull(pending.remove(number));
  }

  private List<Future<T>> submit(long number) {
    List<Future<T>> futures = new ArrayList<>();
    for (Callable<T> part : parts.apply(number)) {
      futures.add(
          threads.submit(
              () -> {
                workers.acquire();
                try {
                  return part.call();
                } finally {
                  workers.release();
                }
              }));
    }
    return futures;
  }

  private void giveUp(SortedMap<Long, List<Future<T>>> batches) {
    batches.values().forEach(this::cancel);
    batches.clear();
  }

  private void cancel(List<Future<T>> batch) {
    batch.forEach(part -> part.cancel(true));
  }

  /** {@return how many batches are begun and not taken} */
  synchronized int begun() {
    return pending.size();
  }

  /** Interrupts what is being made, waits for its threads to end, and lets go of all parts. */
  @Override
  public void close() {
    synchronized (this) {
      closed = true;
      giveUp(pending);
    }
    threads.shutdownNow();
    try {
      if (!threads.awaitTermination(CLOSE_SECONDS, TimeUnit.SECONDS)) {
        LOG.log(
            Level.WARNING,
            "pictures are still being read after {0} seconds; their threads are left alone",
            CLOSE_SECONDS);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
