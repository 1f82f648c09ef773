// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class ParallelTest {
  private final int threads = Parallel.threads();

  @AfterEach
  void restore() {
    Parallel.setThreads(threads);
  }

  @Test
  void everyIndexRunsOnce() {
    for (int workers : new int[] {1, 2, 3, 8}) {
      Parallel.setThreads(workers);
      for (int n : new int[] {0, 1, 7, 1000}) {
        for (int grain : new int[] {1, 3, 2000}) {
          AtomicIntegerArray seen = new AtomicIntegerArray(n);
          Parallel.forRange(
              n,
              grain,
              (begin, end, worker) -> {
                assertTrue(worker >= 0 && worker < workers);
                for (int i = begin; i < end; i++) {
                  seen.incrementAndGet(i);
                }
              });
          for (int i = 0; i < n; i++) {
            assertEquals(1, seen.get(i));
          }
        }
      }
    }
  }

  /** The first chunk does not end before all others have: the second worker has to take them. */
  @Test
  void whatABusyWorkerHasNotBegunIsTakenByAnother() {
    Parallel.setThreads(2);
    AtomicInteger done = new AtomicInteger();
    long limit = System.nanoTime() + 20_000_000_000L;
    Parallel.forRange(
        10,
        1,
        (begin, end, worker) -> {
          while (begin == 0 && done.get() < 9 && System.nanoTime() < limit) {
            Thread.onSpinWait();
          }
          assertTrue(begin != 0 || done.get() == 9);
          done.incrementAndGet();
        });
    assertEquals(10, done.get());
  }

  @Test
  void manyShortLoopsFollowEachOther() {
    Parallel.setThreads(3);
    long[] sums = new long[64];
    for (int round = 1; round <= 20_000; round++) {
      Parallel.forRange(
          64,
          4,
          (begin, end, worker) -> {
            for (int i = begin; i < end; i++) {
              sums[i] += i;
            }
          });
    }
    long[] expected = new long[64];
    Arrays.setAll(expected, i -> 20_000L * i);
    assertArrayEquals(expected, sums);
  }

  @Test
  void loopsInsideLoopsAndFromOtherThreadsRunToo() throws InterruptedException {
    Parallel.setThreads(3);
    AtomicIntegerArray seen = new AtomicIntegerArray(2 * 30 * 20);
    Thread[] callers = new Thread[2];
    for (int c = 0; c < 2; c++) {
      int caller = c;
      callers[c] =
          new Thread(
              () ->
                  Parallel.forRange(
                      30,
                      1,
                      (begin, end, worker) -> {
                        for (int i = begin; i < end; i++) {
                          int row = caller * 30 + i;
                          Parallel.forRange(
                              20,
                              1,
                              (b, e, w) -> {
                                for (int j = b; j < e; j++) {
                                  seen.incrementAndGet(row * 20 + j);
                                }
                              });
                        }
                      }));
      callers[c].start();
    }
    for (Thread caller : callers) {
      caller.join();
    }
    for (int i = 0; i < seen.length(); i++) {
      assertEquals(1, seen.get(i));
    }
  }

  @Test
  void aFailureReachesTheCallerAndThePoolGoesOn() {
    Parallel.setThreads(2);
    for (int round = 0; round < 50; round++) {
      IllegalStateException e =
          assertThrows(
              IllegalStateException.class,
              () ->
                  Parallel.forRange(
                      100,
                      1,
                      (begin, end, worker) -> {
                        if (begin == 57) {
                          throw new IllegalStateException("at 57");
                        }
                      }));
      assertEquals("at 57", e.getMessage());
    }
  }

  @Test
  void theNumberOfThreadsMustBePositive() {
    assertThrows(IllegalArgumentException.class, () -> Parallel.setThreads(0));
  }
}
