// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import java.util.List;

/**
 * The mean of each window of height and width {@code kernel}; windows begin every {@code stride}
 * elements, {@code padding} before the first. Padding counts as zeros, or not at all. Output size
 * {@code floor((in + 2 padding - kernel) / stride) + 1}.
 *
 * @param kernel height and width of a window
 * @param stride distances of the windows
 * @param padding added on both sides of each axis, at most half of the window
 * @param countIncludePad whether padding counts in the divisor
 */
public record AvgPool2d(
    List<Integer> kernel, List<Integer> stride, List<Integer> padding, boolean countIncludePad)
    implements Resampling {
  @Override
  public String name() {
    return "avg_pool2d";
  }

  @Override
  public int spatial() {
    return 2;
  }

  @Override
  public int outputSize(int axis, int input) {
    return Windows.outputSize(input, kernel.get(axis), stride.get(axis), padding.get(axis), 1);
  }

  @Override
  public AxisWeights weights(int axis, int input) {
    int n = outputSize(axis, input);
    int[] start = new int[n];
    int[] end = new int[n];
    double[] factor = new double[n];
    int pad = padding.get(axis);
    for (int o = 0; o < n; o++) {
      int from = o * stride.get(axis) - pad;
      int to = Math.min(from + kernel.get(axis), input + pad);
      start[o] = Math.max(from, 0);
      end[o] = Math.min(to, input);
      factor[o] = 1.0 / (countIncludePad ? to - from : end[o] - start[o]);
    }
    return AxisWeights.windows(start, end, factor);
  }
}
