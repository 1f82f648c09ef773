// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.kernels;

import io.sfumato.tensor.cpu.Memory;
import java.lang.foreign.Arena;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.CyclicBarrier;
import java.util.function.IntConsumer;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * What the machine can do at the most, measured here and now: fused multiply-adds that stay in
 * registers, and copying of what no cache holds. All threads work at the same time, so that clock
 * rates are those of a loaded machine.
 *
 * @param threads how many
 * @param flops multiplications and additions per second
 * @param copy bytes read and bytes written per second
 */
public record MachineLimits(int threads, double flops, double copy) {
  private static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_PREFERRED;
  private static final ByteOrder ORDER = ByteOrder.nativeOrder();
  private static final int ACCUMULATORS = 12;
  private static final int FMA_LOOPS = 1 << 20;
  private static final int FMA_REPEATS = 100;
  private static final int COPY_REPEATS = 12;
  private static final long COPIED = 128L << 20;

  @SuppressWarnings("UnusedVariable") // written, so that the loop has a result
  private static volatile float sink;

  /** Measures both, in about two seconds. */
  public static MachineLimits measure(int threads) {
    return new MachineLimits(threads, fmaPeak(threads), copyBandwidth(threads));
  }

  /** Floating-point operations per second. */
  public static double fmaPeak(int threads) {
    double each = 2.0 * ACCUMULATORS * SPECIES.length() * FMA_LOOPS;
    double seconds = best(threads, FMA_REPEATS, thread -> sink = fma(FMA_LOOPS));
    return threads * each / seconds;
  }

  /** Bytes moved per second: those read and those written. */
  static double copyBandwidth(int threads) {
    try (Arena arena = Arena.ofShared()) {
      long from = arena.allocate(COPIED, 64).fill((byte) 1).address();
      long to = arena.allocate(COPIED, 64).fill((byte) 2).address();
      long part = COPIED / threads / 64 * 64;
      double loop =
          best(
              threads,
              COPY_REPEATS,
              thread -> copy(from + thread * part, to + thread * part, part));
      double system =
          best(
              threads,
              COPY_REPEATS,
              thread -> Memory.copy(from + thread * part, to + thread * part, part));
      return 2.0 * part * threads / Math.min(loop, system);
    }
  }

  /** The shortest time in which all threads did their work, in seconds. */
  private static double best(int threads, int repeats, IntConsumer work) {
    CyclicBarrier barrier = new CyclicBarrier(threads);
    List<Thread> others = new ArrayList<>();
    for (int i = 1; i < threads; i++) {
      int thread = i;
      others.add(Thread.ofPlatform().daemon().start(() -> repeat(thread, repeats, work, barrier)));
    }
    double best = repeat(0, repeats, work, barrier);
    for (Thread other : others) {
      try {
        other.join();
      } catch (InterruptedException e) {
        throw new IllegalStateException(e);
      }
    }
    return best;
  }

  private static double repeat(int thread, int repeats, IntConsumer work, CyclicBarrier barrier) {
    double best = Double.POSITIVE_INFINITY;
    try {
      for (int i = 0; i < repeats; i++) {
        barrier.await();
        long start = System.nanoTime();
        work.accept(thread);
        barrier.await();
        best = Math.min(best, (System.nanoTime() - start) * 1e-9);
      }
    } catch (InterruptedException | BrokenBarrierException e) {
      throw new IllegalStateException(e);
    }
    return best;
  }

  /** Twelve chains of multiply-adds, more than any core has in flight at once. */
  private static float fma(int n) {
    FloatVector x = FloatVector.broadcast(SPECIES, 0.999f);
    FloatVector y = FloatVector.broadcast(SPECIES, 0.001f);
    FloatVector a0 = y;
    FloatVector a1 = y;
    FloatVector a2 = y;
    FloatVector a3 = y;
    FloatVector a4 = y;
    FloatVector a5 = y;
    FloatVector a6 = y;
    FloatVector a7 = y;
    FloatVector a8 = y;
    FloatVector a9 = y;
    FloatVector a10 = y;
    FloatVector a11 = y;
    for (int i = 0; i < n; i++) {
      a0 = a0.fma(x, y);
      a1 = a1.fma(x, y);
      a2 = a2.fma(x, y);
      a3 = a3.fma(x, y);
      a4 = a4.fma(x, y);
      a5 = a5.fma(x, y);
      a6 = a6.fma(x, y);
      a7 = a7.fma(x, y);
      a8 = a8.fma(x, y);
      a9 = a9.fma(x, y);
      a10 = a10.fma(x, y);
      a11 = a11.fma(x, y);
    }
    a0 = a0.add(a1).add(a2).add(a3).add(a4).add(a5);
    a6 = a6.add(a7).add(a8).add(a9).add(a10).add(a11);
    return a0.add(a6).reduceLanes(VectorOperators.ADD);
  }

  private static void copy(long from, long to, long bytes) {
    int step = SPECIES.vectorByteSize();
    for (long i = 0; i < bytes; i += step) {
      FloatVector.fromMemorySegment(SPECIES, Memory.ALL, from + i, ORDER)
          .intoMemorySegment(Memory.ALL, to + i, ORDER);
    }
  }
}
