// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.cpu.CastLoops;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.Scratch;
import io.sfumato.tensor.cpu.Simd;
import io.sfumato.tensor.exec.Elements;

/**
 * Rows of a {@link Sweep} whose first operand is the result, as neighbouring floats: what lies
 * apart is gathered, what has 16 bits is widened, piece by piece, and the result is rounded.
 */
final class Rows {
  /** Elements of a piece: with it all operands stay in an L1 cache. */
  private static final int PIECE = 2048;

  /** A loop over neighbouring floats. */
  @FunctionalInterface
  interface Body {
    /**
     * Handles one row, or a piece of one.
     *
     * @param in addresses of the inputs
     * @param y address of the result
     * @param n the number of elements
     */
    void accept(long[] in, long y, int n);
  }

  private final Sweep sweep;
  private final DType type;
  private final int inputs;
  private final CastLoops casts = Simd.provider().loops().casts();

  /**
   * Rows of a sweep.
   *
   * @param sweep over the result, dense along its rows, and then the inputs
   * @param type the type of all of them
   * @param inputs the number of inputs
   */
  Rows(Sweep sweep, DType type, int inputs) {
    this.sweep = sweep;
    this.type = type;
    this.inputs = inputs;
  }

  /** Calls {@code body} with a row, or its pieces. */
  void forEach(long[] at, int n, Body body) {
    boolean wide = type == DType.F32;
    int piece = wide ? n : Math.min(n, PIECE);
    long buffer = Scratch.get(Scratch.Slot.ROW, 4L * piece * (inputs + 1));
    long[] rows = new long[inputs];
    for (int from = 0; from < n; from += piece) {
      int count = Math.min(piece, n - from);
      for (int i = 0; i < inputs; i++) {
        rows[i] = row(at[i + 1] + from * sweep.step(i + 1), i + 1, count, buffer + 4L * piece * i);
      }
      if (wide) {
        body.accept(rows, at[0], count);
      } else {
        long y = buffer + 4L * piece * inputs;
        body.accept(rows, y, count);
        casts.narrow(type, y, at[0] + 2L * from, count);
      }
    }
  }

  /** Elements of an operand as neighbouring floats: where they are, or in a buffer. */
  private long row(long from, int operand, int n, long buffer) {
    long step = sweep.step(operand);
    if (type == DType.F32) {
      if (step == 4) {
        return from;
      }
      Sweep.gather(from, step, buffer, n);
    } else if (step == 2) {
      casts.widen(type, from, buffer, n);
    } else {
      for (int i = 0; i < n; i++) {
        Memory.putFloat(buffer + 4L * i, (float) Elements.get(type, from + i * step));
      }
    }
    return buffer;
  }
}
