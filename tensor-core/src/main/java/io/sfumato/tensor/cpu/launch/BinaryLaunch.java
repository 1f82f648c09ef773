// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.BinaryOp;
import io.sfumato.tensor.cpu.Elementwise;
import io.sfumato.tensor.cpu.ElementwiseLoops;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.Scratch;
import io.sfumato.tensor.cpu.Simd;
import io.sfumato.tensor.exec.Kernel;
import io.sfumato.tensor.ops.Binary;
import org.jspecify.annotations.Nullable;

/**
 * {@link Binary} in f32, bf16 or f16, in any layouts and with any broadcasting. Dense operands are
 * one long row; a value per row is a constant of the row's loop; a short row that many rows share
 * (a bias, a channel vector over channels-last maps) is repeated into a longer one first.
 */
public final class BinaryLaunch implements Kernel<Binary> {
  private static final int SHORT = 512;

  @Override
  public @Nullable String refuse(Binary op, Tensor[] in, Tensor[] out) {
    return Operands.floatsOrHalves(in, out);
  }

  @Override
  public void launch(Binary op, Tensor[] in, Tensor[] out) {
    if (out[0].numel() == 0) {
      return;
    }
    BinaryOp function = function(op.kind());
    Sweep sweep = Sweep.over(out[0].shape(), out[0], in[0], in[1]);
    ElementwiseLoops loops = Simd.provider().loops().elementwise();
    if (out[0].dtype().isHalf()) {
      Rows rows = new Rows(sweep, out[0].dtype(), 2);
      sweep.forEach(
          (at, n) -> rows.forEach(at, n, (x, y, m) -> loops.binary(function, x[0], x[1], y, m)));
      return;
    }
    if (sharedRows(function, sweep, in, out[0])) {
      return;
    }
    long stepA = sweep.step(1);
    long stepB = sweep.step(2);
    sweep.forEach((at, n) -> row(function, loops, at[1], stepA, at[2], stepB, at[0], n));
  }

  private static void row(
      BinaryOp op, ElementwiseLoops loops, long a, long stepA, long b, long stepB, long y, int n) {
    if (stepA == 4 && stepB == 4) {
      loops.binary(op, a, b, y, n);
      return;
    }
    long buffer = Scratch.get(Scratch.Slot.ROW, 8L * Sweep.CHUNK);
    long left = a;
    if (stepA != 4 && (stepA != 0 || stepB == 0)) {
      left = buffer;
      Sweep.gather(a, stepA, left, n);
    }
    long right = b;
    if (stepB != 4 && stepB != 0) {
      right = buffer + 4L * Sweep.CHUNK;
      Sweep.gather(b, stepB, right, n);
    }
    if (stepB == 0) {
      loops.binaryRight(op, left, Memory.getFloat(b), y, n);
    } else if (stepA == 0) {
      loops.binaryLeft(op, Memory.getFloat(a), right, y, n);
    } else {
      loops.binary(op, left, right, y, n);
    }
  }

  /** Takes [batches, rows, n] with one short row per batch on one side; false otherwise. */
  private static boolean sharedRows(BinaryOp op, Sweep sweep, Tensor[] in, Tensor out) {
    int n = sweep.length();
    int depth = sweep.depth();
    if (n > SHORT || depth < 1 || depth > 2) {
      return false;
    }
    int rows = sweep.size(depth - 1);
    int batches = depth == 2 ? sweep.size(0) : 1;
    long row = 4L * n;
    for (int side = 1; side <= 2; side++) {
      int full = 3 - side;
      boolean inner = sweep.step(full) == 4 && sweep.step(side) == 4;
      boolean shared = sweep.step(depth - 1, full) == row && sweep.step(depth - 1, side) == 0;
      boolean outer =
          depth == 1 || (sweep.step(0, full) == row * rows && sweep.step(0, side) == row);
      if (inner && shared && outer) {
        long a = in[full - 1].address();
        long b = in[side - 1].address();
        Elementwise.binaryRows(op, a, b, out.address(), batches, rows, n, side == 1);
        return true;
      }
    }
    return false;
  }

  private static BinaryOp function(Binary.Kind kind) {
    return switch (kind) {
      case ADD -> BinaryOp.ADD;
      case SUB -> BinaryOp.SUB;
      case MUL -> BinaryOp.MUL;
      case DIV -> BinaryOp.DIV;
      case POW -> BinaryOp.POW;
      case MAXIMUM -> BinaryOp.MAX;
      case MINIMUM -> BinaryOp.MIN;
    };
  }
}
