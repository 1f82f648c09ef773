// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.ShapeException;
import java.util.List;

/**
 * Linear interpolation along both spatial axes: PyTorch's interpolate with mode="bilinear". Result
 * o lies at {@code o (in - 1) / (out - 1)} with aligned corners, else at {@code max(0, (o + 1/2) in
 * / out - 1/2)}.
 *
 * @param size height and width of the result
 * @param alignCorners whether the centres of the corner pixels coincide, else their outer corners
 */
public record UpsampleBilinear(List<Integer> size, boolean alignCorners) implements Resampling {
  @Override
  public String name() {
    return "upsample_bilinear";
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
    double aligned = n > 1 ? (input - 1.0) / (n - 1) : 0;
    double scale = (double) input / n;
    int[] begin = new int[n + 1];
    int[] source = new int[2 * n];
    double[] weight = new double[2 * n];
    for (int o = 0; o < n; o++) {
      double position = alignCorners ? o * aligned : Math.max(0, (o + 0.5) * scale - 0.5);
      int low = Math.min((int) position, input - 1);
      double part = Math.min(position - low, 1);
      begin[o + 1] = 2 * (o + 1);
      source[2 * o] = low;
      source[2 * o + 1] = Math.min(low + 1, input - 1);
      weight[2 * o] = 1 - part;
      weight[2 * o + 1] = part;
    }
    return new AxisWeights(begin, source, weight);
  }
}
