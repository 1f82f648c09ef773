// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.cpu.AttentionProblem.Matrix;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;

/**
 * One forward call of {@link AttentionKernel}. Per head, keys are transposed into panels, scaled;
 * per block of queries, blocks of scores follow one another with a running maximum and sum, and the
 * output is rescaled when the maximum grows.
 */
final class AttentionForward {
  private final AttentionProblem p;
  private final Matrix out;
  private final long lse;
  private final AttentionProducts tiles;
  private final @Nullable AttentionProducts unit;
  private final AttentionLoops loops = Loops.leaf().attention();

  AttentionForward(AttentionProblem p, Matrix q, Matrix k, Matrix v, Matrix out, long lse) {
    this.p = p;
    this.out = out;
    this.lse = lse;
    tiles = new TileAttention(p, q, k, v);
    MatrixUnit there = Loops.tile().unit();
    unit =
        there == null
            ? null
            : out.type() == DType.BF16
                ? new HalfAttention(there, p, q, k, v)
                : SplitAttention.pays(p) ? new SplitAttention(there, p, q, k, v) : null;
  }

  void run() {
    int heads = p.batch() * p.heads();
    if (heads >= 2 * Parallel.threads() || p.queries() <= tiles.queryBlock()) {
      Parallel.forRange(
          heads,
          1,
          (begin, end, worker) -> {
            for (int h = begin; h < end; h++) {
              head(h);
            }
          });
      return;
    }
    for (int h = 0; h < heads; h++) {
      head(h);
    }
  }

  /** A head, on the matrix unit if there is one that can be used with its values. */
  private void head(int head) {
    if (unit == null || !head(unit, head)) {
      head(tiles, head);
    }
  }

  /**
   * A head, on all threads unless they are at other heads.
   *
   * @return whether these products could be used; the result is unspecified otherwise
   */
  private boolean head(AttentionProducts products, int head) {
    long packed = Scratch.get(Scratch.Slot.ATTENTION_SHARED, products.headBytes() + 64);
    AtomicBoolean unfit = new AtomicBoolean();
    int keys = AttentionProducts.KEY_BLOCK;
    Parallel.forRange(
        (p.keys() + keys - 1) / keys,
        1,
        (begin, end, worker) -> {
          if (!products.packHead(head, begin * keys, Math.min(p.keys(), end * keys), packed)) {
            unfit.set(true);
          }
        });
    int queries = products.queryBlock();
    Parallel.forRange(
        (p.queries() + queries - 1) / queries,
        1,
        (begin, end, worker) -> {
          for (int b = begin; b < end && !unfit.get(); b++) {
            if (!block(products, head, b, packed)) {
              unfit.set(true);
            }
          }
        });
    return !unfit.get();
  }

  /** One block of queries against all keys it sees. */
  private boolean block(AttentionProducts products, int head, int block, long packed) {
    int most = products.queryBlock();
    int i0 = block * most;
    int rows = Math.min(most, p.queries() - i0);
    long scores = most * products.scoreStride() * 4L;
    long outputs = most * products.outputStride() * 4L;
    long bytes = scores + outputs + products.blockBytes();
    long s = Scratch.get(Scratch.Slot.ATTENTION_BLOCK, bytes);
    long o = s + scores;
    long work = o + outputs;
    if (!products.packQueries(head, i0, rows, work)) {
      return false;
    }
    float[] max = new float[rows];
    float[] shift = new float[rows];
    double[] sum = new double[rows];
    double[] part = new double[rows];
    Arrays.fill(max, Float.NEGATIVE_INFINITY);
    int keys = p.causal() ? Math.min(p.keys(), i0 + rows) : p.keys();
    for (int j = 0; j < keys; j += AttentionProducts.KEY_BLOCK) {
      int n = Math.min(AttentionProducts.KEY_BLOCK, keys - j);
      products.scores(head, i0, rows, j, n, packed, work, s);
      maxima(products, head, i0, rows, j, n, s, o, max, shift, sum);
      products.probabilities(i0, rows, j, n, s, shift, part, work);
      for (int r = 0; r < rows; r++) {
        sum[r] += part[r];
      }
      products.outputs(head, rows, j, n, s, packed, work, o, j > 0);
    }
    finish(head, i0, rows, keys, o, products.outputStride(), max, sum);
    return true;
  }

  /**
   * Masks the scores of queries {@code [i0, i0 + rows)} and keys {@code [j0, j0 + n)}, and rescales
   * sums and outputs where the maximum grows. Apart, so that few vector loops can be inlined into
   * one method: the compiler's budget ends, and boxes them.
   *
   * @param shift receives what is taken from each row's scores
   */
  private void maxima(
      AttentionProducts products,
      int head,
      int i0,
      int rows,
      int j0,
      int n,
      long s,
      long o,
      float[] max,
      float[] shift,
      double[] sum) {
    int batch = head / p.heads();
    int h = head % p.heads();
    long stride = 4L * products.scoreStride();
    int outputStride = products.outputStride();
    for (int r = 0; r < rows; r++) {
      long row = s + r * stride;
      int seen = p.seen(i0 + r, j0, n);
      if (p.mask() != null && seen > 0) {
        p.mask().apply(loops, row, batch, h, i0 + r, j0, seen);
      }
      float before = max[r];
      float now = seen == 0 ? before : Math.max(before, loops.max(row, seen));
      if (before != now && before != Float.NEGATIVE_INFINITY) {
        float factor = (float) Math.exp(before - now);
        sum[r] *= factor;
        long output = o + (long) r * outputStride * 4;
        loops.scale(output, output, outputStride, factor);
      }
      max[r] = now;
      shift[r] = now == Float.NEGATIVE_INFINITY ? 0f : now;
    }
  }

  private void finish(
      int head, int i0, int rows, int keys, long o, int stride, float[] max, double[] sum) {
    boolean narrow = out.type() != DType.F32;
    CastLoops casts = Loops.leaf().casts();
    for (int r = 0; r < rows; r++) {
      long row = p.row(out, head, i0 + r);
      long target = narrow ? o + (long) r * stride * 4 : row;
      boolean blind = max[r] == Float.NEGATIVE_INFINITY && sum[r] == 0;
      if (blind || keys == 0) {
        Memory.zero(target, p.dim() * 4L);
      } else {
        loops.scale(o + (long) r * stride * 4, target, p.dim(), (float) (1 / sum[r]));
      }
      if (narrow) {
        casts.narrow(out.type(), target, row, p.dim());
      }
      if (lse != 0) {
        float base = max[r] == Float.NEGATIVE_INFINITY && !blind ? 0f : max[r];
        float value = blind ? Float.NEGATIVE_INFINITY : (float) (base + Math.log(sum[r]));
        Memory.putFloat(lse + ((long) head * p.queries() + i0 + r) * 4, value);
      }
    }
  }
}
