// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * Softmax and its logarithm over the rows of a contiguous f32 matrix [rows, n], on all threads.
 * Outputs may overwrite inputs of the same shape.
 */
public final class SoftmaxKernel {
  private SoftmaxKernel() {}

  /** {@code y[r, j] = e^(x[r, j]) / Σ_k e^(x[r, k])}; a row of negative infinities gives NaN. */
  public static void forward(long x, long y, int rows, int n) {
    RowLoops loops = Loops.leaf().rows();
    forEach(rows, n, (at, k) -> loops.softmax(x + at, y + at, k, n));
  }

  /** {@code dx = y (dy - Σ y dy)} from the output y. */
  public static void backward(long y, long dy, long dx, int rows, int n) {
    RowLoops loops = Loops.leaf().rows();
    forEach(rows, n, (at, k) -> loops.softmaxGradient(y + at, dy + at, dx + at, k, n));
  }

  /** {@code y[r, j] = x[r, j] - log Σ_k e^(x[r, k])}. */
  public static void logForward(long x, long y, int rows, int n) {
    RowLoops loops = Loops.leaf().rows();
    forEach(rows, n, (at, k) -> loops.logSoftmax(x + at, y + at, k, n));
  }

  /** {@code dx = dy - e^y Σ dy} from the output y of {@link #logForward}. */
  public static void logBackward(long y, long dy, long dx, int rows, int n) {
    RowLoops loops = Loops.leaf().rows();
    forEach(rows, n, (at, k) -> loops.logSoftmaxGradient(y + at, dy + at, dx + at, k, n));
  }

  /** Sees rows that follow each other. */
  @FunctionalInterface
  private interface Rows {
    void run(long byteOffset, int rows);
  }

  private static void forEach(int rows, int n, Rows body) {
    Loops.forRows(rows, n, (begin, end, worker) -> body.run((long) begin * n * 4, end - begin));
  }
}
