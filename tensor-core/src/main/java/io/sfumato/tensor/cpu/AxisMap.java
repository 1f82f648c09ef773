// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.ops.AxisWeights;

/**
 * Applies {@link AxisWeights} to the middle axis of row-major f32 numbers [outer, inputs, inner],
 * on all threads.
 */
public final class AxisMap {
  private static final int SHORT = 8;

  private AxisMap() {}

  /**
   * {@code y[b, o, j] = Σ weight[k] x[b, source[k], j]}, summed in the order of k.
   *
   * @param map the weights
   * @param x numbers [outer, inputs, inner]
   * @param y result [outer, outputs, inner]
   */
  public static void apply(AxisWeights map, long x, long y, int outer, int inputs, int inner) {
    int outputs = map.outputs();
    int n = Math.multiplyExact(outer, outputs);
    if (n == 0 || inner == 0) {
      return;
    }
    ElementwiseLoops loops = Loops.leaf().elementwise();
    Parallel.forRange(
        n,
        Loops.rowGrain(2 * inner),
        (begin, end, worker) -> {
          for (int r = begin; r < end; r++) {
            long from = x + 4L * inner * inputs * (r / outputs);
            long to = y + 4L * inner * r;
            if (inner < SHORT) {
              numbers(map, r % outputs, from, to, inner);
            } else {
              row(loops, map, r % outputs, from, to, inner);
            }
          }
        });
  }

  private static void numbers(AxisWeights map, int o, long from, long to, int inner) {
    int begin = map.begin()[o];
    int end = map.begin()[o + 1];
    for (int j = 0; j < inner; j++) {
      double sum = 0;
      for (int k = begin; k < end; k++) {
        sum += map.weight()[k] * Memory.getFloat(from + 4L * (map.source()[k] * inner + j));
      }
      Memory.putFloat(to + 4L * j, (float) sum);
    }
  }

  private static void row(
      ElementwiseLoops loops, AxisWeights map, int o, long from, long to, int inner) {
    int begin = map.begin()[o];
    int end = map.begin()[o + 1];
    if (begin == end) {
      loops.fill(0, to, inner);
      return;
    }
    long first = from + 4L * inner * map.source()[begin];
    if (end == begin + 1) {
      loops.binaryRight(BinaryOp.MUL, first, (float) map.weight()[begin], to, inner);
      return;
    }
    long second = from + 4L * inner * map.source()[begin + 1];
    loops.axpby(
        (float) map.weight()[begin], first, (float) map.weight()[begin + 1], second, to, inner);
    for (int k = begin + 2; k < end; k++) {
      loops.axpby((float) map.weight()[k], from + 4L * inner * map.source()[k], 1, to, to, inner);
    }
  }
}
