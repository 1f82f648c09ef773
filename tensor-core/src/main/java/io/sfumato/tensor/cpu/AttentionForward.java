// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.cpu.AttentionProblem.Matrix;
import io.sfumato.tensor.cpu.AttentionTiles.Rows;
import java.util.Arrays;

/**
 * One forward call of {@link AttentionKernel}. Per head, keys are transposed into panels, scaled;
 * per block of queries, blocks of scores follow one another with a running maximum and sum, and the
 * output is rescaled when the maximum grows.
 */
final class AttentionForward {
  private static final int QUERY_BLOCK = 56;

  private final AttentionProblem p;
  private final Matrix q;
  private final Matrix k;
  private final Matrix v;
  private final Matrix out;
  private final long lse;
  private final AttentionTiles tiles;
  private final AttentionLoops loops;
  private final int queryBlocks;
  private final long transposedBytes;
  private final long valueBytes;
  private final boolean slabs;

  AttentionForward(AttentionProblem p, Matrix q, Matrix k, Matrix v, Matrix out, long lse) {
    this.p = p;
    this.q = q;
    this.k = k;
    this.v = v;
    this.out = out;
    this.lse = lse;
    this.tiles = new AttentionTiles(p.dim());
    this.loops = tiles.loops;
    this.queryBlocks = (p.queries() + QUERY_BLOCK - 1) / QUERY_BLOCK;
    this.transposedBytes = tiles.transposedSize(p.keys()) * 4;
    this.valueBytes = tiles.isPacked(v.rowStride()) ? 0 : tiles.rowsSize(p.keys()) * 4;
    this.slabs = tiles.slabsPay(p.keys());
  }

  void run() {
    int heads = p.batch() * p.heads();
    long packed = transposedBytes + valueBytes + 64;
    if (heads >= 2 * Parallel.threads() || queryBlocks == 1) {
      Parallel.forRange(
          heads,
          1,
          (begin, end, worker) -> {
            long shared = Scratch.get(Scratch.Slot.ATTENTION_SHARED, packed);
            for (int h = begin; h < end; h++) {
              pack(h, 0, p.keys(), shared);
              for (int b = 0; b < queryBlocks; b++) {
                block(h, b, shared);
              }
            }
          });
      return;
    }
    long shared = Scratch.get(Scratch.Slot.ATTENTION_SHARED, packed);
    int step = AttentionTiles.KEY_BLOCK;
    for (int h = 0; h < heads; h++) {
      int head = h;
      Parallel.forRange(
          (p.keys() + step - 1) / step,
          1,
          (begin, end, worker) -> pack(head, begin * step, Math.min(p.keys(), end * step), shared));
      Parallel.forRange(
          queryBlocks,
          1,
          (begin, end, worker) -> {
            for (int b = begin; b < end; b++) {
              block(head, b, shared);
            }
          });
    }
  }

  /** Packs the keys and values {@code [from, to)} of a head. */
  private void pack(int head, int from, int to, long shared) {
    long keys = k.head(head / p.heads(), head % p.heads()) + from * k.rowStride() * 4;
    long panels = shared + (long) from * p.dim() * 4;
    tiles.packTransposed(keys, k.rowStride(), to - from, p.scale(), panels);
    if (valueBytes > 0) {
      long values = v.head(head / p.heads(), head % p.heads()) + from * v.rowStride() * 4;
      long rows = shared + transposedBytes + tiles.rowsSize(from) * 4;
      tiles.packRows(values, v.rowStride(), to - from, rows);
    }
  }

  /** One block of queries against all keys it sees. */
  private void block(int head, int block, long shared) {
    int i0 = block * QUERY_BLOCK;
    int rows = Math.min(QUERY_BLOCK, p.queries() - i0);
    long scores = QUERY_BLOCK * tiles.scoreStride * 4L;
    long outputs = QUERY_BLOCK * tiles.paddedDim * 4L;
    long slabBytes = tiles.slabsSize(QUERY_BLOCK) * 4;
    long s = Scratch.get(Scratch.Slot.ATTENTION_BLOCK, scores + outputs + slabBytes);
    long o = s + scores;
    Rows queries = queries(head, i0, rows, o + outputs);
    float[] max = new float[rows];
    double[] sum = new double[rows];
    Arrays.fill(max, Float.NEGATIVE_INFINITY);
    int keys = p.causal() ? Math.min(p.keys(), i0 + rows) : p.keys();
    for (int j = 0; j < keys; j += AttentionTiles.KEY_BLOCK) {
      int n = Math.min(AttentionTiles.KEY_BLOCK, keys - j);
      keyBlock(head, queries, i0, rows, j, n, shared, s, o, max, sum);
    }
    finish(head, i0, rows, keys, o, max, sum);
  }

  private Rows queries(int head, int i0, int rows, long to) {
    long from = q.head(head / p.heads(), head % p.heads()) + i0 * q.rowStride() * 4;
    return slabs
        ? tiles.packSlabs(from, q.rowStride(), rows, to)
        : tiles.inPlace(from, q.rowStride());
  }

  /**
   * Queries {@code [i0, i0 + rows)} against the keys {@code [j0, j0 + n)}. Apart, so that few
   * vector loops can be inlined into one method: the compiler's budget ends, and boxes them.
   */
  private void keyBlock(
      int head,
      Rows queries,
      int i0,
      int rows,
      int j0,
      int n,
      long shared,
      long s,
      long o,
      float[] max,
      double[] sum) {
    int batch = head / p.heads();
    int h = head % p.heads();
    int stride = tiles.scoreStride;
    long values = valueBytes > 0 ? shared + transposedBytes : v.head(batch, h);
    tiles.scores(rows, n, queries, 0, shared + (long) j0 * p.dim() * 4, s);
    for (int r = 0; r < rows; r++) {
      long row = s + (long) r * stride * 4;
      int seen = p.causal() ? Math.clamp(i0 + r + 1L - j0, 0, n) : n;
      if (seen < n) {
        Memory.zero(row + seen * 4L, (n - seen) * 4L);
      }
      if (seen == 0) {
        continue;
      }
      if (p.mask() != null) {
        p.mask().apply(loops, row, batch, h, i0 + r, j0, seen);
      }
      float before = max[r];
      float now = Math.max(before, loops.max(row, seen));
      float shift = now == Float.NEGATIVE_INFINITY ? 0f : now;
      double part = loops.exponentials(row, seen, shift);
      if (before == now || before == Float.NEGATIVE_INFINITY) {
        sum[r] += part;
      } else {
        float factor = (float) Math.exp(before - now);
        sum[r] = sum[r] * factor + part;
        long output = o + (long) r * tiles.paddedDim * 4;
        loops.scale(output, output, tiles.paddedDim, factor);
      }
      max[r] = now;
    }
    tiles.product(
        j0 > 0, rows, n, s, stride, 1, values + tiles.rowsSize(j0) * 4, o, tiles.paddedDim);
  }

  private void finish(int head, int i0, int rows, int keys, long o, float[] max, double[] sum) {
    long to = out.head(head / p.heads(), head % p.heads());
    for (int r = 0; r < rows; r++) {
      long target = to + (i0 + r) * out.rowStride() * 4;
      boolean blind = max[r] == Float.NEGATIVE_INFINITY && sum[r] == 0;
      if (blind || keys == 0) {
        Memory.zero(target, p.dim() * 4L);
      } else {
        loops.scale(o + (long) r * tiles.paddedDim * 4, target, p.dim(), (float) (1 / sum[r]));
      }
      if (lse != 0) {
        float base = max[r] == Float.NEGATIVE_INFINITY && !blind ? 0f : max[r];
        float value = blind ? Float.NEGATIVE_INFINITY : (float) (base + Math.log(sum[r]));
        Memory.putFloat(lse + ((long) head * p.queries() + i0 + r) * 4, value);
      }
    }
  }
}
