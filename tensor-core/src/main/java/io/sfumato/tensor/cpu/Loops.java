// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import java.util.Arrays;

/** The leaf loops that kernels call, and how they share work among threads. */
final class Loops {
  /** Elements per piece of work; a multiple of every vector length. */
  static final int CHUNK = 1 << 14;

  private static volatile SimdProvider provider = Simd.provider();

  private Loops() {}

  /** Work on the elements {@code from} to {@code from + n}. */
  @FunctionalInterface
  interface ChunkBody {
    void run(long from, int n);
  }

  static LeafLoops leaf() {
    return provider.loops();
  }

  static GemmTile tile() {
    return provider.gemmTile();
  }

  /** Replaces the loops in use; for tests that compare them. */
  static void use(SimdProvider replacement) {
    provider = replacement;
  }

  /** Runs {@code body} over {@code n} elements in pieces of {@link #CHUNK}, on all threads. */
  static void forChunks(long n, ChunkBody body) {
    if (n <= CHUNK) {
      if (n > 0) {
        body.run(0, (int) n);
      }
      return;
    }
    int chunks = Math.toIntExact((n + CHUNK - 1) / CHUNK);
    Parallel.forRange(
        chunks,
        1,
        (begin, end, worker) -> {
          for (int c = begin; c < end; c++) {
            long from = (long) c * CHUNK;
            body.run(from, (int) Math.min(CHUNK, n - from));
          }
        });
  }

  /** Work on the elements {@code from} to {@code from + n} of array {@code k}. */
  @FunctionalInterface
  interface ArrayBody {
    void run(int k, long from, int n);
  }

  /**
   * Runs {@code body} over all elements of many arrays in pieces of up to {@link #CHUNK}, on all
   * threads, in one loop: small arrays share the threads too.
   */
  static void forArrays(long[] sizes, ArrayBody body) {
    int[] first = new int[sizes.length + 1];
    long total = 0;
    for (int k = 0; k < sizes.length; k++) {
      first[k + 1] = Math.toIntExact(first[k] + (sizes[k] + CHUNK - 1) / CHUNK);
      total += sizes[k];
    }
    int chunks = first[sizes.length];
    int grain = (int) Math.max(1, Math.min(64, CHUNK * (long) chunks / Math.max(1, total)));
    Parallel.forRange(
        chunks,
        grain,
        (begin, end, worker) -> {
          int k = arrayOf(first, begin);
          for (int c = begin; c < end; c++) {
            while (c >= first[k + 1]) {
              k++;
            }
            long from = (long) (c - first[k]) * CHUNK;
            body.run(k, from, (int) Math.min(CHUNK, sizes[k] - from));
          }
        });
  }

  /** The array that a chunk belongs to. */
  private static int arrayOf(int[] first, int chunk) {
    int k = Arrays.binarySearch(first, chunk);
    k = k < 0 ? -k - 2 : k;
    while (first[k + 1] == chunk) {
      k++;
    }
    return k;
  }

  /** Runs {@code body} for each of {@code rows} rows of {@code n} elements, on all threads. */
  static void forRows(int rows, int n, Parallel.Body body) {
    Parallel.forRange(rows, rowGrain(n), body);
  }

  /** Rows of {@code n} elements that make one piece of work. */
  static int rowGrain(int n) {
    return Math.max(1, CHUNK / Math.max(1, n));
  }
}
