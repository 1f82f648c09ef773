// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.ShapeException;
import java.util.List;

/**
 * Means over windows that divide the input evenly: result o of each axis covers {@code floor(o in /
 * out)} to {@code ceil((o + 1) in / out) - 1}.
 *
 * @param size height and width of the result
 */
public record AdaptiveAvgPool2d(List<Integer> size) implements Resampling {
  @Override
  public String name() {
    return "adaptive_avg_pool2d";
  }

  @Override
  public int spatial() {
    return 2;
  }

  @Override
  public int outputSize(int axis, int input) {
    if (size.get(axis) < 1) {
      throw new ShapeException("sizes must be positive; got " + size);
    }
    return size.get(axis);
  }

  @Override
  public AxisWeights weights(int axis, int input) {
    int n = size.get(axis);
    int[] start = new int[n];
    int[] end = new int[n];
    double[] factor = new double[n];
    for (int o = 0; o < n; o++) {
      start[o] = (int) ((long) o * input / n);
      end[o] = (int) (((long) (o + 1) * input + n - 1) / n);
      factor[o] = 1.0 / (end[o] - start[o]);
    }
    return AxisWeights.windows(start, end, factor);
  }
}
