// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Philox;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.Parallel;
import io.sfumato.tensor.cpu.Scratch;
import io.sfumato.tensor.cpu.StridedCopy;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.ops.Dropout;
import io.sfumato.tensor.ops.RandomFill;
import io.sfumato.tensor.ops.RandomIntegers;
import org.jspecify.annotations.Nullable;

/** Random numbers; blocks of {@link #BLOCK} elements are divided among threads. */
public final class RandomLaunch {
  private static final int BLOCK = 1 << 13;

  private RandomLaunch() {}

  /** Sees one block. */
  @FunctionalInterface
  private interface Block {
    void fill(long offset, int count);
  }

  private static void blocks(long n, Block block) {
    int count = Math.toIntExact(Math.ceilDiv(n, BLOCK));
    Parallel.forRange(
        count,
        1,
        (begin, end, worker) -> {
          for (int i = begin; i < end; i++) {
            long offset = (long) BLOCK * i;
            block.fill(offset, (int) Math.min(BLOCK, n - offset));
          }
        });
  }

  /** {@link RandomFill} of f32 and f64. */
  public static final class Fill implements Kernel<RandomFill> {
    @Override
    public @Nullable String refuse(RandomFill op, Tensor[] in, Tensor[] out) {
      return out[0].dtype().isHalf() ? "needs f32 or f64" : null;
    }

    @Override
    public void launch(RandomFill op, Tensor[] in, Tensor[] out) {
      long y = out[0].address();
      long key = op.key();
      boolean wide = out[0].dtype() == DType.F64;
      boolean normal = op.kind() == RandomFill.Kind.NORMAL;
      blocks(
          out[0].numel(),
          (offset, n) -> {
            if (wide && normal) {
              Philox.fillNormalF64(key, offset, n, y + 8 * offset);
            } else if (wide) {
              Philox.fillUniformF64(key, offset, n, y + 8 * offset);
            } else if (normal) {
              Philox.fillNormal(key, offset, n, y + 4 * offset);
            } else {
              Philox.fillUniform(key, offset, n, y + 4 * offset);
            }
          });
    }
  }

  /** {@link RandomIntegers}. */
  public static Kernel<RandomIntegers> integers() {
    return (op, in, out) -> {
      long y = out[0].address();
      blocks(
          out[0].numel(),
          (offset, n) ->
              Philox.fillIntegers(op.key(), offset, n, op.low(), op.high(), y + 8 * offset));
    };
  }

  /** {@link Dropout} of f32; masks belong to row-major order, so other orders are copied. */
  public static final class Drop implements Kernel<Dropout> {
    @Override
    public @Nullable String refuse(Dropout op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(Dropout op, Tensor[] in, Tensor[] out) {
      Tensor result = out[0];
      try (Staging staging = new Staging()) {
        boolean direct = result.layout().isContiguous();
        long x = staging.rowMajor(in[0]);
        long y = direct ? result.address() : staging.allocate(result.spec().bytes());
        blocks(result.numel(), (offset, n) -> drop(op, offset, x, y, n));
        if (!direct) {
          Layout rows = Layout.contiguous(result.shape());
          StridedCopy.copy(4, y, rows, result.address(), result.layout());
        }
      }
    }

    private static void drop(Dropout op, long offset, long x, long y, int n) {
      long uniform = Scratch.get(Scratch.Slot.ROW, 4L * n);
      Philox.fillUniform(op.key(), offset, n, uniform);
      double p = op.p();
      float scale = (float) op.scale();
      for (int i = 0; i < n; i++) {
        long at = 4 * (offset + i);
        boolean kept = Memory.getFloat(uniform + 4L * i) >= p;
        Memory.putFloat(y + at, kept ? Memory.getFloat(x + at) * scale : 0);
      }
    }
  }
}
