// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.DeviceException;
import io.sfumato.tensor.MemoryStats;
import io.sfumato.tensor.Storage;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;

/** The pool of host memory. */
class SlabAllocatorTest {
  @Test
  void sizesAreRoundedToFewClasses() {
    for (long bytes = 1; bytes < 100_000; bytes += 7) {
      long size = SlabAllocator.roundUp(bytes);
      assertTrue(size >= bytes && size % 64 == 0);
      assertTrue(size <= Math.max(64, bytes + Math.max(64, bytes / 7)), bytes + " to " + size);
      assertEquals(size, SlabAllocator.roundUp(size));
    }
  }

  @Test
  void addressesAreAlignedAndDoNotOverlap() {
    SlabAllocator pool = new SlabAllocator(Long.MAX_VALUE / 2);
    SplittableRandom r = new SplittableRandom(1);
    List<Storage> live = new ArrayList<>();
    for (int i = 0; i < 2000; i++) {
      if (!live.isEmpty() && r.nextInt(3) == 0) {
        live.remove(r.nextInt(live.size())).release();
      } else {
        Storage s = pool.allocate(1 + r.nextInt(20_000));
        assertEquals(0, s.address() % 64);
        for (Storage other : live) {
          assertTrue(
              s.address() + s.bytes() <= other.address()
                  || other.address() + other.bytes() <= s.address());
        }
        live.add(s);
      }
    }
    assertEquals(live.size(), pool.stats().buffers());
    live.forEach(Storage::release);
    assertEquals(0, pool.stats().live());
  }

  @Test
  void freedBlocksComeBack() {
    SlabAllocator pool = new SlabAllocator(Long.MAX_VALUE / 2);
    Storage a = pool.allocate(5_000_000);
    long address = a.address();
    a.release();
    long reserved = pool.stats().reserved();
    Storage b = pool.allocate(4_990_000);
    assertEquals(address, b.address());
    assertEquals(reserved, pool.stats().reserved());
    b.release();
    pool.trim();
    assertTrue(pool.stats().reserved() < reserved);
  }

  @Test
  void countersKnowLiveAndPeak() {
    SlabAllocator pool = new SlabAllocator(Long.MAX_VALUE / 2);
    Storage a = pool.allocate(1000);
    Storage b = pool.allocate(64);
    long size = SlabAllocator.roundUp(1000);
    assertEquals(size + 64, pool.stats().live());
    a.release();
    MemoryStats stats = pool.stats();
    assertEquals(64, stats.live());
    assertEquals(size + 64, stats.peak());
    assertEquals(1, stats.buffers());
    pool.resetPeak();
    assertEquals(64, pool.stats().peak());
    b.release();
  }

  @Test
  void nothingTakesNoSpaceButWorks() {
    SlabAllocator pool = new SlabAllocator(Long.MAX_VALUE / 2);
    Storage s = pool.allocate(0);
    assertEquals(0, s.bytes());
    s.release();
    assertEquals(0, pool.stats().live());
  }

  @Test
  void theLimitGivesAClearErrorAndUnusedBlocksAreGivenBackFirst() {
    SlabAllocator pool = new SlabAllocator(24L << 20);
    Storage a = pool.allocate(20L << 20);
    DeviceException e = assertThrows(DeviceException.class, () -> pool.allocate(18L << 20));
    String text = String.valueOf(e.getMessage());
    assertTrue(text.contains("out of memory: wanted"), text);
    assertTrue(text.contains("1 buffers are in use"), text);
    assertTrue(text.contains("sfumato.cpu.memory"), text);
    assertEquals(1, pool.stats().buffers());
    a.release();
    pool.allocate(18L << 20).release(); // fits after the unused block went back
  }

  @Test
  void manyThreadsShareIt() throws InterruptedException {
    SlabAllocator pool = new SlabAllocator(Long.MAX_VALUE / 2);
    AtomicReference<Throwable> failure = new AtomicReference<>();
    List<Thread> threads = new ArrayList<>();
    for (int t = 0; t < 4; t++) {
      long mark = t;
      Thread thread =
          new Thread(
              () -> {
                try {
                  SplittableRandom r = new SplittableRandom(mark);
                  for (int i = 0; i < 2000; i++) {
                    Storage s = pool.allocate(8 + r.nextInt(500));
                    Memory.putLong(s.address(), mark);
                    Thread.onSpinWait();
                    assertEquals(mark, Memory.getLong(s.address()));
                    s.release();
                  }
                } catch (Throwable e) {
                  failure.set(e);
                }
              });
      threads.add(thread);
      thread.start();
    }
    for (Thread thread : threads) {
      thread.join();
    }
    assertEquals(null, failure.get());
    assertEquals(0, pool.stats().live());
  }
}
