// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.BinaryOp;
import io.sfumato.tensor.cpu.ElementwiseLoops;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.Simd;
import io.sfumato.tensor.cpu.UnaryGradient;
import io.sfumato.tensor.cpu.UnaryOp;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.Affine;
import io.sfumato.tensor.ops.Clamp;
import io.sfumato.tensor.ops.Elu;
import io.sfumato.tensor.ops.LeakyRelu;
import io.sfumato.tensor.ops.PowScalar;
import io.sfumato.tensor.ops.Softplus;
import io.sfumato.tensor.ops.Unary;
import io.sfumato.tensor.ops.UnaryBackward;
import java.util.function.DoubleUnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * Functions of elements at equal indices, in f32, bf16 or f16 and in any layouts: rows are handed
 * to a loop over neighbouring floats, gathered or widened first where they are none.
 *
 * @param <O> the op
 */
public final class PointwiseLaunch<O extends Op> implements Kernel<O> {
  private final Loop<O> loop;

  private PointwiseLaunch(Loop<O> loop) {
    this.loop = loop;
  }

  /** Computes one row of neighbouring floats. */
  @FunctionalInterface
  private interface Loop<O> {
    void run(O op, ElementwiseLoops loops, long[] in, long y, int n);
  }

  @Override
  public @Nullable String refuse(O op, Tensor[] in, Tensor[] out) {
    return Operands.floatsOrHalves(in, out);
  }

  @Override
  public void launch(O op, Tensor[] in, Tensor[] out) {
    Sweep sweep = Sweep.over(out[0].shape(), Operands.outFirst(out[0], in));
    ElementwiseLoops loops = Simd.provider().loops().elementwise();
    Rows converted = new Rows(sweep, out[0].dtype(), in.length);
    sweep.forEach(
        (at, n) -> converted.forEach(at, n, (rows, y, m) -> loop.run(op, loops, rows, y, m)));
  }

  // ---- the loops

  /** {@link Unary}. */
  public static PointwiseLaunch<Unary> unary() {
    return new PointwiseLaunch<>(
        (op, loops, in, y, n) -> {
          UnaryOp function = function(op.kind());
          if (function != null) {
            loops.unary(function, in[0], y, n);
          } else {
            each(op.kind()::apply, in[0], y, n);
          }
        });
  }

  /** {@link UnaryBackward}. */
  public static PointwiseLaunch<UnaryBackward> unaryBackward() {
    return new PointwiseLaunch<>(
        (op, loops, in, y, n) -> loops.gradient(gradient(op.kind()), in[0], in[1], y, n));
  }

  /** {@link Affine}. */
  public static PointwiseLaunch<Affine> affine() {
    return new PointwiseLaunch<>(
        (op, loops, in, y, n) -> {
          long x = in[0];
          if (op.scale() != 1) {
            loops.binaryRight(BinaryOp.MUL, x, (float) op.scale(), y, n);
            x = y;
          }
          if (op.shift() != 0 || op.scale() == 1) {
            loops.binaryRight(BinaryOp.ADD, x, (float) op.shift(), y, n);
          }
        });
  }

  /** {@link Clamp}. */
  public static PointwiseLaunch<Clamp> clamp() {
    return new PointwiseLaunch<>(
        (op, loops, in, y, n) -> {
          loops.binaryRight(BinaryOp.MAX, in[0], (float) op.min(), y, n);
          loops.binaryRight(BinaryOp.MIN, y, (float) op.max(), y, n);
        });
  }

  /** {@link PowScalar}. */
  public static PointwiseLaunch<PowScalar> powScalar() {
    return new PointwiseLaunch<>(
        (op, loops, in, y, n) -> {
          if (op.exponent() == 3) {
            loops.binary(BinaryOp.MUL, in[0], in[0], y, n);
            loops.binary(BinaryOp.MUL, y, in[0], y, n);
          } else {
            loops.binaryRight(BinaryOp.POW, in[0], (float) op.exponent(), y, n);
          }
        });
  }

  /** {@link LeakyRelu}. */
  public static PointwiseLaunch<LeakyRelu> leakyRelu() {
    return new PointwiseLaunch<>(
        (op, loops, in, y, n) -> loops.leakyRelu((float) op.slope(), in[0], y, n));
  }

  /** {@link Elu}. */
  public static PointwiseLaunch<Elu> elu() {
    return new PointwiseLaunch<>(
        (op, loops, in, y, n) -> {
          double alpha = op.alpha();
          each(x -> x > 0 ? x : alpha * Math.expm1(x), in[0], y, n);
        });
  }

  /** {@link Softplus}. */
  public static PointwiseLaunch<Softplus> softplus() {
    return new PointwiseLaunch<>(
        (op, loops, in, y, n) -> {
          float beta = (float) op.beta();
          if (beta == 1 && op.threshold() >= 20) { // beyond 20 both branches round alike
            loops.unary(UnaryOp.SOFTPLUS, in[0], y, n);
            return;
          }
          double threshold = op.threshold();
          each(
              x -> {
                double z = beta * x;
                double soft = Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)));
                return z > threshold ? x : soft / beta;
              },
              in[0],
              y,
              n);
        });
  }

  private static void each(DoubleUnaryOperator function, long x, long y, int n) {
    for (long i = 0; i < 4L * n; i += 4) {
      Memory.putFloat(y + i, (float) function.applyAsDouble(Memory.getFloat(x + i)));
    }
  }

  private static @Nullable UnaryOp function(Unary.Kind kind) {
    return switch (kind) {
      case ABS -> UnaryOp.ABS;
      case EXP -> UnaryOp.EXP;
      case LOG -> UnaryOp.LOG;
      case SQRT -> UnaryOp.SQRT;
      case RSQRT -> UnaryOp.RSQRT;
      case RECIPROCAL -> UnaryOp.RECIPROCAL;
      case SQUARE -> UnaryOp.SQUARE;
      case SIN -> UnaryOp.SIN;
      case COS -> UnaryOp.COS;
      case TANH -> UnaryOp.TANH;
      case SIGMOID -> UnaryOp.SIGMOID;
      case SILU -> UnaryOp.SILU;
      case GELU -> UnaryOp.GELU;
      case GELU_TANH -> UnaryOp.GELU_TANH;
      case RELU -> UnaryOp.RELU;
      case ERF -> UnaryOp.ERF;
      case FLOOR -> UnaryOp.FLOOR;
      case CEIL -> UnaryOp.CEIL;
      case ROUND -> UnaryOp.ROUND;
      case SIGN -> UnaryOp.SIGN;
      case EXPM1, LOG1P -> null;
    };
  }

  private static UnaryGradient gradient(UnaryBackward.Kind kind) {
    return switch (kind) {
      case TANH -> UnaryGradient.TANH;
      case SIGMOID -> UnaryGradient.SIGMOID;
      case SILU -> UnaryGradient.SILU;
      case GELU -> UnaryGradient.GELU;
      case GELU_TANH -> UnaryGradient.GELU_TANH;
      case RELU -> UnaryGradient.RELU;
    };
  }
}
