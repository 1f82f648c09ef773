// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.BinaryOp;
import io.sfumato.tensor.cpu.ElementwiseLoops;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.Parallel;
import io.sfumato.tensor.cpu.Scratch;
import io.sfumato.tensor.cpu.Simd;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.ops.GatedResidual;
import io.sfumato.tensor.ops.GatedResidualBackward;
import org.jspecify.annotations.Nullable;

/** Gated residual sums in f32, one token after the other while it is in the cache. */
public final class GatedLaunch {
  private static final int ROWS = 64; // gradients of a gate are summed by this many tokens

  private GatedLaunch() {}

  /** {@link GatedResidual}. */
  public static final class Forward implements Kernel<GatedResidual> {
    @Override
    public @Nullable String refuse(GatedResidual op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(GatedResidual op, Tensor[] in, Tensor[] out) {
      int tokens = in[0].dim(1);
      int n = in[0].dim(2);
      ElementwiseLoops loops = Simd.provider().loops().elementwise();
      try (Staging staging = new Staging()) {
        long x = staging.rowMajor(in[0]);
        long h = staging.rowMajor(in[1]);
        long gate = staging.rowMajor(in[2]);
        long y = out[0].address();
        Parallel.forRange(
            Math.multiplyExact(in[0].dim(0), tokens),
            Math.max(1, (1 << 14) / n),
            (begin, end, worker) -> {
              for (int row = begin; row < end; row++) {
                long at = 4L * row * n;
                loops.binary(BinaryOp.MUL, h + at, gate + 4L * (row / tokens) * n, y + at, n);
                loops.binary(BinaryOp.ADD, x + at, y + at, y + at, n);
              }
            });
      }
    }
  }

  /** {@link GatedResidualBackward}; a thread has all tokens of a sample. */
  public static final class Backward implements Kernel<GatedResidualBackward> {
    @Override
    public @Nullable String refuse(GatedResidualBackward op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(GatedResidualBackward op, Tensor[] in, Tensor[] out) {
      try (Staging staging = new Staging()) {
        long h = staging.rowMajor(in[0]);
        long gate = staging.rowMajor(in[1]);
        long dy = staging.rowMajor(in[2]);
        int tokens = in[0].dim(1);
        int n = in[0].dim(2);
        Parallel.forRange(
            in[0].dim(0),
            1,
            (begin, end, worker) -> {
              for (int b = begin; b < end; b++) {
                long at = 4L * b * tokens * n;
                long row = 4L * b * n;
                long dh = out[0].address() + at;
                sample(h + at, gate + row, dy + at, dh, out[1].address() + row, tokens, n);
              }
            });
      }
    }

    private static void sample(long h, long gate, long dy, long dh, long dgate, int tokens, int n) {
      ElementwiseLoops loops = Simd.provider().loops().elementwise();
      long bytes = 4L * n;
      long sum = Scratch.get(Scratch.Slot.ROW, 2 * bytes);
      long product = sum + bytes;
      Memory.zero(dgate, bytes);
      for (int first = 0; first < tokens; first += ROWS) {
        Memory.zero(sum, bytes);
        for (int t = first; t < Math.min(tokens, first + ROWS); t++) {
          long at = t * bytes;
          loops.binary(BinaryOp.MUL, dy + at, gate, dh + at, n);
          loops.binary(BinaryOp.MUL, dy + at, h + at, product, n);
          loops.binary(BinaryOp.ADD, sum, product, sum, n);
        }
        loops.binary(BinaryOp.ADD, dgate, sum, dgate, n);
      }
    }
  }
}
