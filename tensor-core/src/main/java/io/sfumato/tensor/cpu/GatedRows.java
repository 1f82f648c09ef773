// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * A gated residual {@code h = x + gate y} of contiguous f32 matrices [batches, rows, n], one gate
 * of n values per batch, on all threads. Results do not depend on the number of threads.
 *
 * @param batches the number of gates
 * @param rows rows per batch
 * @param n row length
 * @param gate gates, one vector of n per batch
 * @param gateStride floats from one batch's gate to the next
 */
public record GatedRows(int batches, int rows, int n, long gate, long gateStride) {
  private long gateOf(int batch) {
    return gate + batch * gateStride * 4;
  }

  /** {@code h = x + gate y}. */
  public void forward(long x, long y, long h) {
    ElementwiseLoops loops = Loops.leaf().elementwise();
    Parallel.forRange(
        Math.multiplyExact(batches, rows),
        Loops.rowGrain(n),
        (begin, end, worker) -> {
          for (int r = begin; r < end; r++) {
            long at = r * 4L * n;
            loops.multiplyAdd(x + at, y + at, gateOf(r / rows), h + at, n);
          }
        });
  }

  /**
   * {@code dx = dx + dh}, {@code dy = gate dx}, {@code dgate = Σ dx y} over the rows of a batch.
   *
   * @param dx gradient of h but for dh; the whole gradient is written over it
   * @param dh what is added to it
   * @param y the branch
   * @param dy gradient of the branch, written
   * @param dgate gradients of the gates [batches, n], or 0
   */
  public void backward(long dx, long dh, long y, long dy, long dgate) {
    ElementwiseLoops loops = Loops.leaf().elementwise();
    long stride = n * 4L;
    int perBlock = Reductions.rowsPerBlock(rows);
    int blocks = (rows + perBlock - 1) / perBlock;
    int work = Math.multiplyExact(batches, blocks);
    long parts = dgate == 0 ? 0 : Scratch.get(Scratch.Slot.PARTIAL_SUMS, work * stride);
    Parallel.forRange(
        work,
        1,
        (begin, end, worker) -> {
          for (int i = begin; i < end; i++) {
            int batch = i / blocks;
            int first = i % blocks * perBlock;
            int last = Math.min(rows, first + perBlock);
            long part = parts + i * stride;
            if (dgate != 0) {
              Memory.zero(part, stride);
            }
            for (int r = first; r < last; r++) {
              long at = ((long) batch * rows + r) * stride;
              loops.binary(BinaryOp.ADD, dx + at, dh + at, dx + at, n);
              loops.binary(BinaryOp.MUL, dx + at, gateOf(batch), dy + at, n);
              if (dgate != 0) {
                loops.multiplyAdd(part, dx + at, y + at, part, n);
              }
            }
          }
        });
    if (dgate != 0) {
      Memory.zero(dgate, batches * stride);
      ReduceLoops reduce = Loops.leaf().reduce();
      for (int b = 0; b < batches; b++) {
        reduce.addColumns(parts + b * blocks * stride, dgate + b * stride, blocks, n);
      }
    }
  }
}
