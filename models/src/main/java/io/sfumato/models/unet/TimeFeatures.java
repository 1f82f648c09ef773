// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.unet;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Tensor;

/** Sinusoidal features of timesteps (diffusers models/embeddings.py, get_timestep_embedding). */
public final class TimeFeatures {
  private TimeFeatures() {}

  /**
   * With half = dim/2 and f_i = exp(-ln(10000) i / (half - shift)): the row of t is [sin(t f),
   * cos(t f)], or [cos, sin] if flipped; an odd width gets one zero at the end. Computed in f32, as
   * the reference does.
   *
   * @param timesteps values of t, one per sample
   * @param dim width
   * @param flipSinToCos whether cosines come first
   * @param shift downscale_freq_shift
   * @param device where the result goes
   * @return [B, dim] F32
   */
  public static Tensor sinusoidal(
      double[] timesteps, int dim, boolean flipSinToCos, double shift, Device device) {
    int half = dim / 2;
    double[] values = new double[timesteps.length * dim];
    for (int b = 0; b < timesteps.length; b++) {
      for (int i = 0; i < half; i++) {
        float exponent = (float) (-Math.log(10000) * i) / (float) (half - shift);
        float frequency = (float) Math.exp(exponent);
        float angle = (float) timesteps[b] * frequency;
        int first = b * dim + i;
        values[flipSinToCos ? first + half : first] = Math.sin(angle);
        values[flipSinToCos ? first : first + half] = Math.cos(angle);
      }
    }
    return Tensor.of(values, DType.F32, device, timesteps.length, dim);
  }
}
