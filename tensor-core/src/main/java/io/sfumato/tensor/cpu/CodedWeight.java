// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Coding;
import org.jspecify.annotations.Nullable;

/**
 * A coded weight as kernels read it: runs of its elements as floats, the very values of {@link
 * io.sfumato.tensor.ops.Dequantize}. Coded scales and a table of pairs of values lie in work space
 * of the thread that makes this object; workers may read it until that thread makes the next one.
 */
public final class CodedWeight {
  private static final int PAIRS = 256;

  private final boolean eight;
  private final long codes;
  private final long scales;
  private final long pairs;
  private final int block;

  private CodedWeight(boolean eight, long codes, long scales, long pairs, int block) {
    this.eight = eight;
    this.codes = codes;
    this.scales = scales;
    this.pairs = pairs;
    this.block = block;
  }

  /** Why parts cannot be read where they lie, or null. */
  public static @Nullable String refuse(Coding coding, Tensor[] in, int first) {
    for (int i = first; i < first + coding.parts(); i++) {
      if (!in[i].layout().isContiguous()) {
        return "needs the parts of the coded weight in row-major order";
      }
    }
    return null;
  }

  /** The weight whose parts begin at {@code in[first]}; {@link #refuse} takes them. */
  public static CodedWeight of(Coding coding, Tensor[] in, int first) {
    long codes = in[first].address();
    long scales = in[first + 1].address();
    if (coding.scheme() == Coding.Scheme.ROWS_INT8) {
      return new CodedWeight(true, codes, scales, 0, Math.max(1, coding.rowLength()));
    }
    Coding.Nested nested = coding.nested();
    long count = nested == null ? 0 : coding.blocks();
    long space = Scratch.get(Scratch.Slot.CODES, 8L * PAIRS + 4 * count);
    long table = in[first + 2].address();
    for (int i = 0; i < PAIRS; i++) {
      Memory.putFloat(space + 8L * i, Memory.getFloat(table + 4L * (i >> 4)));
      Memory.putFloat(space + 8L * i + 4, Memory.getFloat(table + 4L * (i & 15)));
    }
    if (nested != null) {
      long plain = space + 8L * PAIRS;
      long outer = in[first + 3].address();
      long map = in[first + 4].address();
      for (long i = 0; i < count; i++) {
        float value = Memory.getFloat(map + 4L * (Memory.getByte(scales + i) & 0xff));
        float scale = value * Memory.getFloat(outer + 4 * (i / nested.block())) + nested.offset();
        Memory.putFloat(plain + 4 * i, scale);
      }
      scales = plain;
    }
    return new CodedWeight(false, codes, scales, space, coding.block());
  }

  /**
   * Writes consecutive elements of the flattened weight.
   *
   * @param first the first one
   * @param count how many
   * @param to address of the floats
   */
  public void decode(long first, int count, long to) {
    ElementwiseLoops loops = Loops.leaf().elementwise();
    long end = first + count;
    long at = first;
    long out = to;
    while (at < end) { // a block, or a row
      long b = at / block;
      int n = (int) (Math.min(end, (b + 1) * block) - at);
      float scale = Memory.getFloat(scales + 4 * b);
      if (eight) {
        for (int i = 0; i < n; i++) {
          Memory.putFloat(out + 4L * i, Memory.getByte(codes + at + i) * scale);
        }
        loops.binaryRight(BinaryOp.MUL, out, Coding.INT8_STEP, out, n);
      } else {
        unpack(at, n, out);
        loops.binaryRight(BinaryOp.MUL, out, scale, out, n);
      }
      at += n;
      out += 4L * n;
    }
  }

  /** Writes the values of codes, not scaled. */
  private void unpack(long first, int count, long to) {
    long at = first;
    long end = first + count;
    long out = to;
    if ((at & 1) != 0) {
      Memory.putFloat(out, Memory.getFloat(pair(at / 2) + 4));
      at++;
      out += 4;
    }
    for (; at + 1 < end; at += 2) {
      Memory.putLong(out, Memory.getLong(pair(at / 2)));
      out += 8;
    }
    if (at < end) {
      Memory.putFloat(out, Memory.getFloat(pair(at / 2)));
    }
  }

  private long pair(long at) {
    return pairs + 8L * (Memory.getByte(codes + at) & 0xff);
  }
}
