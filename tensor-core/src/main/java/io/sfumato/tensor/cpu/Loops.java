// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

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

  /** Runs {@code body} for each of {@code rows} rows of {@code n} elements, on all threads. */
  static void forRows(int rows, int n, Parallel.Body body) {
    Parallel.forRange(rows, rowGrain(n), body);
  }

  /** Rows of {@code n} elements that make one piece of work. */
  static int rowGrain(int n) {
    return Math.max(1, CHUNK / Math.max(1, n));
  }
}
