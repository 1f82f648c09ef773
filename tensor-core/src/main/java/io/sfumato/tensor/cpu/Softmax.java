// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * Softmax, its logarithm and cross-entropy over the rows of a contiguous f32 matrix [rows, n], on
 * all threads. Outputs may overwrite inputs of the same shape.
 */
public final class Softmax {
  private Softmax() {}

  /** {@code y[r, j] = e^(x[r, j]) / Σ_k e^(x[r, k])}; a row of negative infinities gives NaN. */
  public static void forward(long x, long y, int rows, int n) {
    RowLoops loops = Loops.leaf().rows();
    forEach(rows, n, at -> loops.softmax(x + at, y + at, n));
  }

  /** {@code dx = y (dy - Σ y dy)} from the output y. */
  public static void backward(long y, long dy, long dx, int rows, int n) {
    RowLoops loops = Loops.leaf().rows();
    forEach(rows, n, at -> loops.softmaxGradient(y + at, dy + at, dx + at, n));
  }

  /** {@code y[r, j] = x[r, j] - log Σ_k e^(x[r, k])}. */
  public static void logForward(long x, long y, int rows, int n) {
    RowLoops loops = Loops.leaf().rows();
    forEach(rows, n, at -> loops.logSoftmax(x + at, y + at, n));
  }

  /** {@code dx = dy - e^y Σ dy} from the output y of {@link #logForward}. */
  public static void logBackward(long y, long dy, long dx, int rows, int n) {
    RowLoops loops = Loops.leaf().rows();
    forEach(rows, n, at -> loops.logSoftmaxGradient(y + at, dy + at, dx + at, n));
  }

  /**
   * Cross-entropy per row: {@code loss[r] = lse[r] - x[r, target[r]]}, {@code lse[r] = log Σ_j
   * e^(x[r, j])}.
   *
   * @param x logits [rows, n]
   * @param targets class numbers [rows], int64
   * @param ignored rows with this target have loss 0 (PyTorch's ignore_index)
   * @param loss result [rows]
   * @param lse result [rows], kept for {@link #crossEntropyBackward}
   * @param rows the number of rows
   * @param n the number of classes
   * @throws IndexOutOfBoundsException if a target is neither {@code ignored} nor in [0, n)
   */
  public static void crossEntropy(
      long x, long targets, long ignored, long loss, long lse, int rows, int n) {
    RowLoops loops = Loops.leaf().rows();
    Loops.forRows(
        rows,
        n,
        (begin, end, worker) -> {
          for (int r = begin; r < end; r++) {
            long row = x + (long) r * n * 4;
            float log = loops.logSumExp(row, n);
            Memory.putFloat(lse + r * 4L, log);
            long target = target(targets, r, ignored, n);
            float value = target < 0 ? 0f : log - Memory.getFloat(row + target * 4);
            Memory.putFloat(loss + r * 4L, value);
          }
        });
  }

  /**
   * Gradient of {@link #crossEntropy}: {@code dx[r, j] = dloss[r] (e^(x[r, j] - lse[r]) - [j =
   * target[r]])}, 0 in ignored rows.
   *
   * @param x logits [rows, n]
   * @param targets class numbers [rows], int64
   * @param ignored the target of rows that do not count
   * @param lse as computed forward [rows]
   * @param dloss gradient of each row's loss [rows]
   * @param dx result [rows, n]
   * @param rows the number of rows
   * @param n the number of classes
   * @throws IndexOutOfBoundsException if a target is neither {@code ignored} nor in [0, n)
   */
  public static void crossEntropyBackward(
      long x, long targets, long ignored, long lse, long dloss, long dx, int rows, int n) {
    ElementwiseLoops loops = Loops.leaf().elementwise();
    Loops.forRows(
        rows,
        n,
        (begin, end, worker) -> {
          for (int r = begin; r < end; r++) {
            long at = (long) r * n * 4;
            long target = target(targets, r, ignored, n);
            if (target < 0) {
              loops.fill(0f, dx + at, n);
              continue;
            }
            float g = Memory.getFloat(dloss + r * 4L);
            loops.shiftedExp(-Memory.getFloat(lse + r * 4L), g, x + at, dx + at, n);
            long hit = dx + at + target * 4;
            Memory.putFloat(hit, Memory.getFloat(hit) - g);
          }
        });
  }

  /** The target of row {@code r}, or -1 if the row is ignored. */
  private static long target(long targets, int r, long ignored, int n) {
    long target = Memory.getLong(targets + r * 8L);
    if (target == ignored) {
      return -1;
    }
    if (target < 0 || target >= n) {
      throw new IndexOutOfBoundsException(
          "cross_entropy: targets must lie in [0, " + n + "); got " + target + " in row " + r);
    }
    return target;
  }

  @FunctionalInterface
  private interface RowBody {
    void run(long byteOffset);
  }

  private static void forEach(int rows, int n, RowBody body) {
    Loops.forRows(
        rows,
        n,
        (begin, end, worker) -> {
          for (int r = begin; r < end; r++) {
            body.run((long) r * n * 4);
          }
        });
  }
}
