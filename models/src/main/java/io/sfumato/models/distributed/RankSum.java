// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.exec.Elements;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Adds what the ranks have sent, element by element, in the order of the ranks: F64 in f64,
 * everything else in f32. So the sum does not depend on who adds, how many elements there are, or
 * what arrives first.
 */
final class RankSum {
  private static final int BLOCK = 2048;

  private final double[] wide = new double[BLOCK];
  private final double[] wideSum = new double[BLOCK];
  private final float[] floats = new float[BLOCK];
  private final float[] floatSum = new float[BLOCK];
  private final short[] halves = new short[BLOCK];

  /**
   * {@code target = factor · (parts[0] + parts[1] + …)}; the target may be one of the parts.
   *
   * @param type of all
   * @param count elements of each
   */
  void add(MemorySegment[] parts, MemorySegment target, DType type, long count, double factor) {
    for (long at = 0; at < count; at += BLOCK) {
      int n = (int) Math.min(BLOCK, count - at);
      if (type == DType.F64) {
        addDoubles(parts, target, at, n, factor);
      } else {
        addFloats(parts, target, type, at, n, (float) factor);
      }
    }
  }

  private void addDoubles(
      MemorySegment[] parts, MemorySegment target, long at, int n, double factor) {
    read(parts[0], at, n, wideSum);
    for (int r = 1; r < parts.length; r++) {
      read(parts[r], at, n, wide);
      for (int i = 0; i < n; i++) {
        wideSum[i] += wide[i];
      }
    }
    for (int i = 0; i < n; i++) {
      wideSum[i] *= factor;
    }
    MemorySegment.copy(wideSum, 0, target, ValueLayout.JAVA_DOUBLE, 8 * at, n);
  }

  private static void read(MemorySegment from, long at, int n, double[] to) {
    MemorySegment.copy(from, ValueLayout.JAVA_DOUBLE, 8 * at, to, 0, n);
  }

  private void addFloats(
      MemorySegment[] parts, MemorySegment target, DType type, long at, int n, float factor) {
    read(parts[0], type, at, n, floatSum);
    for (int r = 1; r < parts.length; r++) {
      read(parts[r], type, at, n, floats);
      for (int i = 0; i < n; i++) {
        floatSum[i] += floats[i];
      }
    }
    for (int i = 0; i < n; i++) {
      floatSum[i] *= factor;
    }
    if (type == DType.F32) {
      MemorySegment.copy(floatSum, 0, target, ValueLayout.JAVA_FLOAT, 4 * at, n);
      return;
    }
    for (int i = 0; i < n; i++) {
      halves[i] =
          type == DType.BF16
              ? Elements.floatToBf16(floatSum[i])
              : Float.floatToFloat16(floatSum[i]);
    }
    MemorySegment.copy(halves, 0, target, ValueLayout.JAVA_SHORT, 2 * at, n);
  }

  private void read(MemorySegment from, DType type, long at, int n, float[] to) {
    if (type == DType.F32) {
      MemorySegment.copy(from, ValueLayout.JAVA_FLOAT, 4 * at, to, 0, n);
      return;
    }
    MemorySegment.copy(from, ValueLayout.JAVA_SHORT, 2 * at, halves, 0, n);
    for (int i = 0; i < n; i++) {
      to[i] =
          type == DType.BF16 ? Elements.bf16ToFloat(halves[i]) : Float.float16ToFloat(halves[i]);
    }
  }
}
