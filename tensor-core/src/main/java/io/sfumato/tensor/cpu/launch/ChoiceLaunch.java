// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.exec.Elements;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.ops.Compare;
import io.sfumato.tensor.ops.Logical;
import io.sfumato.tensor.ops.Where;

/** Comparisons, logic and choice, of any type, in any layouts and with any broadcasting. */
public final class ChoiceLaunch {
  private ChoiceLaunch() {}

  /** {@link Compare}. */
  public static Kernel<Compare> compare() {
    return (op, in, out) -> {
      Sweep sweep = Sweep.over(out[0].shape(), out[0], in[0], in[1]);
      long a = sweep.step(1);
      long b = sweep.step(2);
      DType dtype = in[0].dtype();
      if (dtype == DType.F32) {
        sweep.forEach((at, n) -> floats(op.kind(), at[1], a, at[2], b, at[0], n));
      } else if (dtype == DType.I64) {
        sweep.forEach((at, n) -> longs(op.kind(), at[1], a, at[2], b, at[0], n));
      } else {
        sweep.forEach(
            (at, n) -> {
              for (int i = 0; i < n; i++) {
                double p = Elements.get(dtype, at[1] + i * a);
                double q = Elements.get(dtype, at[2] + i * b);
                Memory.putByte(at[0] + i, (byte) (op.kind().test(p, q) ? 1 : 0));
              }
            });
      }
    };
  }

  private static void floats(
      Compare.Kind kind, long a, long stepA, long b, long stepB, long y, int n) {
    for (int i = 0; i < n; i++) {
      float p = Memory.getFloat(a + i * stepA);
      float q = Memory.getFloat(b + i * stepB);
      Memory.putByte(y + i, (byte) (kind.test(p, q) ? 1 : 0));
    }
  }

  private static void longs(
      Compare.Kind kind, long a, long stepA, long b, long stepB, long y, int n) {
    for (int i = 0; i < n; i++) {
      int order = Long.compare(Memory.getLong(a + i * stepA), Memory.getLong(b + i * stepB));
      Memory.putByte(y + i, (byte) (kind.test(order, 0) ? 1 : 0));
    }
  }

  /** {@link Logical}. */
  public static Kernel<Logical> logical() {
    return (op, in, out) -> {
      Sweep sweep = Sweep.over(out[0].shape(), out[0], in[0], in[in.length - 1]);
      long a = sweep.step(1);
      long b = sweep.step(2);
      sweep.forEach(
          (at, n) -> {
            for (int i = 0; i < n; i++) {
              int p = Memory.getByte(at[1] + i * a);
              int q = Memory.getByte(at[2] + i * b);
              int y =
                  switch (op.kind()) {
                    case AND -> p & q;
                    case OR -> p | q;
                    case XOR -> p ^ q;
                    case NOT -> 1 - p;
                  };
              Memory.putByte(at[0] + i, (byte) y);
            }
          });
    };
  }

  /** {@link Where}. */
  public static Kernel<Where> where() {
    return (op, in, out) -> {
      Sweep sweep = Sweep.over(out[0].shape(), Operands.outFirst(out[0], in));
      int bytes = out[0].dtype().bytes();
      sweep.forEach((at, n) -> choose(bytes, sweep, at, n));
    };
  }

  private static void choose(int bytes, Sweep sweep, long[] at, int n) {
    long y = at[0];
    long condition = at[1];
    long a = at[2];
    long b = at[3];
    long stepC = sweep.step(1);
    long stepA = sweep.step(2);
    long stepB = sweep.step(3);
    for (int i = 0; i < n; i++) {
      long from = Memory.getByte(condition + i * stepC) != 0 ? a + i * stepA : b + i * stepB;
      switch (bytes) {
        case 4 -> Memory.putInt(y + 4L * i, Memory.getInt(from));
        case 8 -> Memory.putLong(y + 8L * i, Memory.getLong(from));
        case 2 -> Memory.putShort(y + 2L * i, Memory.getShort(from));
        default -> Memory.putByte(y + i, Memory.getByte(from));
      }
    }
  }
}
