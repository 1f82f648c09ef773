// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.batch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class PrefetcherTest {
  private static List<Callable<String>> parts(long batch, int count) {
    List<Callable<String>> parts = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      int part = i;
      parts.add(() -> batch + "." + part);
    }
    return parts;
  }

  @Test
  void partsComeInOrderWhateverTheOrderOfBatches() {
    try (Prefetcher<String> prefetcher = new Prefetcher<>(b -> parts(b, 3), 2, 2)) {
      for (long b : new long[] {0, 1, 2, 3, 9, 10, 4, 4, 0, 1000}) {
        assertEquals(List.of(b + ".0", b + ".1", b + ".2"), prefetcher.take(b));
        assertTrue(prefetcher.begun() <= 2);
      }
    }
  }

  @Test
  void noMoreThanSoManyBatchesAreBegunAndWorkersRun() throws InterruptedException {
    Set<Long> begun = ConcurrentHashMap.newKeySet();
    AtomicInteger running = new AtomicInteger();
    AtomicInteger most = new AtomicInteger();
    CountDownLatch done = new CountDownLatch(4 * 5);
    Callable<String> part =
        () -> {
          most.accumulateAndGet(running.incrementAndGet(), Math::max);
          Thread.sleep(2);
          running.decrementAndGet();
          done.countDown();
          return "";
        };
    try (Prefetcher<String> prefetcher =
        new Prefetcher<>(
            b -> {
              begun.add(b);
              return List.of(part, part, part, part, part);
            },
            3,
            2)) {
      assertTrue(begun.isEmpty(), "nothing is begun before it is asked for");
      prefetcher.take(0);
      assertTrue(done.await(20, TimeUnit.SECONDS));
      assertEquals(Set.of(0L, 1L, 2L, 3L), begun, "the taker is slow, so nothing more is begun");
      assertEquals(2, most.get());
    }
  }

  @Test
  void aFailureComesWithItsBatchAndNotBefore() {
    IllegalStateException torn = new IllegalStateException("file 2 is torn");
    try (Prefetcher<String> prefetcher =
        new Prefetcher<>(
            b -> {
              List<Callable<String>> parts = parts(b, 2);
              if (b == 2) {
                parts.add(
                    () -> {
                      throw torn;
                    });
              }
              return parts;
            },
            4,
            1)) {
      prefetcher.take(0);
      prefetcher.take(1);
      assertSame(torn, assertThrows(IllegalStateException.class, () -> prefetcher.take(2)));
      assertEquals(2, prefetcher.take(3).size());
    }
  }

  @Test
  void closingInterruptsAndLeavesNoThread() throws InterruptedException {
    CountDownLatch started = new CountDownLatch(1);
    CountDownLatch interrupted = new CountDownLatch(1);
    Set<Thread> threads = ConcurrentHashMap.newKeySet();
    Prefetcher<String> prefetcher =
        new Prefetcher<>(
            b ->
                List.of(
                    () -> {
                      threads.add(Thread.currentThread());
                      if (b > 0) {
                        started.countDown();
                        try {
                          Thread.sleep(60_000);
                        } catch (InterruptedException e) {
                          interrupted.countDown();
                          throw e;
                        }
                      }
                      return "";
                    }),
            2,
            4);
    prefetcher.take(0);
    assertTrue(started.await(20, TimeUnit.SECONDS));
    prefetcher.close();
    assertTrue(interrupted.await(0, TimeUnit.SECONDS));
    assertTrue(threads.size() >= 2);
    for (Thread thread : threads) {
      assertTrue(thread.isVirtual());
      assertTrue(thread.join(java.time.Duration.ofSeconds(10)), "the thread has ended");
    }
    assertEquals(0, prefetcher.begun());
    assertThrows(IllegalStateException.class, () -> prefetcher.take(1));
    prefetcher.close(); // once more does no harm
  }

  @Test
  void aTakerHearsThatItWasClosedMeanwhile() throws InterruptedException {
    for (boolean stubborn : new boolean[] {false, true}) {
      CountDownLatch started = new CountDownLatch(1);
      Prefetcher<String> prefetcher =
          new Prefetcher<>(
              b ->
                  List.of(
                      () -> {
                        started.countDown();
                        try {
                          Thread.sleep(60_000);
                        } catch (InterruptedException e) {
                          if (stubborn) {
                            throw new IllegalStateException("reading failed", e);
                          }
                          throw e;
                        }
                        return "";
                      }),
              1,
              1);
      AtomicReference<String> heard = new AtomicReference<>();
      Thread taker =
          Thread.ofPlatform()
              .start(
                  () ->
                      heard.set(
                          assertThrows(IllegalStateException.class, () -> prefetcher.take(3))
                              .getMessage()));
      assertTrue(started.await(20, TimeUnit.SECONDS));
      prefetcher.close();
      taker.join(20_000);
      assertEquals("this prefetcher was closed while batch 3 was waited for", heard.get());
    }
  }

  @Test
  void anInterruptedTakerLeavesAtOnce() throws InterruptedException {
    CountDownLatch started = new CountDownLatch(1);
    try (Prefetcher<String> prefetcher =
        new Prefetcher<>(
            b ->
                List.of(
                    () -> {
                      started.countDown();
                      Thread.sleep(60_000);
                      return "";
                    }),
            1,
            1)) {
      AtomicInteger ended = new AtomicInteger();
      Thread taker =
          Thread.ofPlatform()
              .start(
                  () -> {
                    assertThrows(IllegalStateException.class, () -> prefetcher.take(0));
                    assertTrue(Thread.currentThread().isInterrupted());
                    ended.incrementAndGet();
                  });
      assertTrue(started.await(20, TimeUnit.SECONDS));
      taker.interrupt();
      taker.join(20_000);
      assertEquals(1, ended.get());
    }
  }
}
