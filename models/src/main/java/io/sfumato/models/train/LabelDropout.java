// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.models.nn.BatchShare;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;

/** Labels that become "no class" now and then, for guidance (Ho and Salimans 2022). */
final class LabelDropout {
  private static final double PROBABILITY = 0.1;

  private LabelDropout() {}

  /**
   * Replaces one label in ten.
   *
   * @param labels [B], I64
   * @param noClass the label that stands for "no class"
   * @return [B], I64, on the CPU
   */
  static Tensor apply(Tensor labels, long noClass, Rng rng) {
    long[] values = labels.toLongArray();
    TensorSpec spec = new TensorSpec(Shape.of(values.length), DType.F32, Device.CPU);
    float[] u = BatchShare.current().uniform(rng, spec).toFloatArray();
    for (int i = 0; i < values.length; i++) {
      values[i] = u[i] < PROBABILITY ? noClass : values[i];
    }
    return Tensor.of(values, values.length);
  }
}
