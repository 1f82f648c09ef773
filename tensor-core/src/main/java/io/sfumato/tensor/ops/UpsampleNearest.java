// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.ShapeException;
import java.util.Arrays;
import java.util.List;

/**
 * Each result is the element at {@code min(floor(o in / out), in - 1)} of each spatial axis, the
 * quotient in / out rounded to f32: PyTorch's interpolate with mode="nearest".
 *
 * @param size the spatial sizes of the result
 */
public record UpsampleNearest(List<Integer> size) implements Resampling {
  @Override
  public String name() {
    return "upsample_nearest";
  }

  @Override
  public int spatial() {
    return size.size();
  }

  @Override
  public boolean copies() {
    return true;
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
    int[] source = new int[size.get(axis)];
    float scale = (float) input / source.length;
    Arrays.setAll(source, o -> Math.min((int) (o * scale), input - 1));
    return AxisWeights.copy(source);
  }
}
