// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.BinaryOp;
import io.sfumato.tensor.cpu.ElementwiseLoops;
import io.sfumato.tensor.cpu.Parallel;
import io.sfumato.tensor.cpu.Scratch;
import io.sfumato.tensor.cpu.Simd;
import io.sfumato.tensor.cpu.UnaryGradient;
import io.sfumato.tensor.cpu.UnaryOp;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.ops.GatedUnit;
import io.sfumato.tensor.ops.GatedUnitBackward;
import org.jspecify.annotations.Nullable;

/** Gated units in f32, one row after the other while it is in the cache. */
public final class GatedUnitLaunch {
  private GatedUnitLaunch() {}

  private static UnaryOp function(GatedUnit.Kind kind) {
    return switch (kind) {
      case GELU -> UnaryOp.GELU;
      case GELU_TANH -> UnaryOp.GELU_TANH;
      case SILU -> UnaryOp.SILU;
    };
  }

  private static UnaryGradient slope(GatedUnit.Kind kind) {
    return switch (kind) {
      case GELU -> UnaryGradient.GELU;
      case GELU_TANH -> UnaryGradient.GELU_TANH;
      case SILU -> UnaryGradient.SILU;
    };
  }

  /** {@link GatedUnit}. */
  public static final class Forward implements Kernel<GatedUnit> {
    @Override
    public @Nullable String refuse(GatedUnit op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(GatedUnit op, Tensor[] in, Tensor[] out) {
      int d = out[0].dim(-1);
      ElementwiseLoops loops = Simd.provider().loops().elementwise();
      try (Staging staging = new Staging()) {
        long x = staging.rowMajor(in[0]);
        long y = out[0].address();
        Parallel.forRange(
            Math.toIntExact(out[0].numel() / d),
            Math.max(1, (1 << 13) / d),
            (begin, end, worker) -> {
              for (long row = begin; row < end; row++) {
                long a = x + 8 * row * d;
                long to = y + 4 * row * d;
                loops.unary(function(op.kind()), a + 4L * d, to, d);
                loops.binary(BinaryOp.MUL, a, to, to, d);
              }
            });
      }
    }
  }

  /** {@link GatedUnitBackward}. */
  public static final class Backward implements Kernel<GatedUnitBackward> {
    @Override
    public @Nullable String refuse(GatedUnitBackward op, Tensor[] in, Tensor[] out) {
      return Staging.refuse(in, out);
    }

    @Override
    public void launch(GatedUnitBackward op, Tensor[] in, Tensor[] out) {
      int d = in[1].dim(-1);
      long half = 4L * d;
      ElementwiseLoops loops = Simd.provider().loops().elementwise();
      try (Staging staging = new Staging()) {
        long x = staging.rowMajor(in[0]);
        long dy = staging.rowMajor(in[1]);
        long dx = out[0].address();
        Parallel.forRange(
            Math.toIntExact(in[1].numel() / d),
            Math.max(1, (1 << 12) / d),
            (begin, end, worker) -> {
              long product = Scratch.get(Scratch.Slot.ROW, half);
              for (long row = begin; row < end; row++) {
                long a = x + 2 * half * row;
                long g = dy + half * row;
                long to = dx + 2 * half * row;
                loops.unary(function(op.kind()), a + half, to, d);
                loops.binary(BinaryOp.MUL, g, to, to, d);
                loops.binary(BinaryOp.MUL, g, a, product, d);
                loops.gradient(slope(op.kind()), a + half, product, to + half, d);
              }
            });
      }
    }
  }
}
