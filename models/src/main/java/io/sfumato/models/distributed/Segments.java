// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import java.util.Arrays;

/** How elements are shared among ranks: one segment each, one behind the other. */
final class Segments {
  private Segments() {}

  /** The sizes of equal shares; the first ones are one larger if it does not work out. */
  static long[] even(long total, int ranks) {
    long[] counts = new long[ranks];
    Arrays.setAll(counts, r -> total / ranks + (r < total % ranks ? 1 : 0));
    return counts;
  }

  /** Where the segments begin, and where the last one ends. */
  static long[] starts(long[] counts) {
    long[] starts = new long[counts.length + 1];
    for (int r = 0; r < counts.length; r++) {
      if (counts[r] < 0) {
        throw new IllegalArgumentException(
            "segments cannot have negative sizes; got " + Arrays.toString(counts));
      }
      starts[r + 1] = starts[r] + counts[r];
    }
    return starts;
  }
}
