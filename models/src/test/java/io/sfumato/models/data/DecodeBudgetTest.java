// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class DecodeBudgetTest {
  private static final long MEBI = 1 << 20;

  @Test
  void allTogetherStayWithinIt() throws Exception {
    DecodeBudget budget = new DecodeBudget(10 * MEBI);
    AtomicLong taken = new AtomicLong();
    AtomicLong most = new AtomicLong();
    List<Future<?>> all = new ArrayList<>();
    try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      for (int i = 0; i < 60; i++) {
        long bytes = (1 + i % 7) * MEBI;
        all.add(
            threads.submit(
                () ->
                    budget.with(
                        bytes,
                        () -> {
                          most.accumulateAndGet(taken.addAndGet(bytes), Math::max);
                          sleep();
                          return taken.addAndGet(-bytes);
                        })));
      }
      for (Future<?> one : all) {
        one.get();
      }
    }
    assertTrue(most.get() <= 10 * MEBI, most + " bytes at a time");
    assertTrue(most.get() > 7 * MEBI, "several at a time");
  }

  private static void sleep() throws IOException {
    try {
      Thread.sleep(2);
    } catch (InterruptedException e) {
      throw new IOException(e);
    }
  }

  @Test
  void whatIsLargerHasItAlone() throws IOException {
    DecodeBudget budget = new DecodeBudget(10);
    assertEquals(1, budget.with(Long.MAX_VALUE / 2, () -> 1));
    assertThrows(
        IOException.class,
        () ->
            budget.with(
                1,
                () -> {
                  throw new IOException("torn");
                }));
    assertEquals(2, budget.with(0, () -> 2), "a failure gives back what it had");
  }

  @Test
  void anInterruptedThreadDoesNotWait() {
    DecodeBudget budget = new DecodeBudget(10);
    Thread.currentThread().interrupt();
    assertThrows(InterruptedIOException.class, () -> budget.with(1, () -> 1));
    assertTrue(Thread.interrupted());
  }
}
