// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Varying;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;

/** Sinusoidal features of timesteps (diffusers models/embeddings.py, get_timestep_embedding). */
public final class TimeFeatures {
  private TimeFeatures() {}

  /**
   * With half = dim/2 and f_i = exp(-ln(10000) i / (half - shift)): the row of t is [sin(t f),
   * cos(t f)], or [cos, sin] if flipped; an odd width gets one zero at the end. Computed in f32, as
   * the reference does.
   *
   * @param timesteps values of t, one per sample; recorded work reads the array anew each time
   * @param dim width
   * @param flipSinToCos whether cosines come first
   * @param shift downscale_freq_shift
   * @param device where the result goes
   * @return [B, dim] F32
   */
  public static Tensor sinusoidal(
      double[] timesteps, int dim, boolean flipSinToCos, double shift, Device device) {
    if (!device.isCpu()) {
      Tensor t = Varying.run(() -> Tensor.of(timesteps, DType.F32, device, timesteps.length));
      return sinusoidal(t, dim, flipSinToCos, shift);
    }
    float[] frequencies = frequencies(dim / 2, shift);
    int half = frequencies.length;
    double[] values = new double[timesteps.length * dim];
    for (int b = 0; b < timesteps.length; b++) {
      for (int i = 0; i < half; i++) {
        float angle = (float) timesteps[b] * frequencies[i];
        int first = b * dim + i;
        values[flipSinToCos ? first + half : first] = Math.sin(angle);
        values[flipSinToCos ? first : first + half] = Math.cos(angle);
      }
    }
    return Tensor.of(values, DType.F32, device, timesteps.length, dim);
  }

  /**
   * The same of timesteps that are on a device already, computed there.
   *
   * @param timesteps values of t [B], F32
   */
  public static Tensor sinusoidal(Tensor timesteps, int dim, boolean flipSinToCos, double shift) {
    float[] frequencies = frequencies(dim / 2, shift);
    Device device = timesteps.device();
    Tensor row = Tensor.of(frequencies, 1, frequencies.length).to(device);
    Tensor angles = timesteps.reshape(timesteps.dim(0), 1).mul(row); // [B, half]
    Tensor sin = Num.sin(angles);
    Tensor cos = Num.cos(angles);
    Tensor features = flipSinToCos ? Shaping.concat(1, cos, sin) : Shaping.concat(1, sin, cos);
    return dim % 2 == 0 ? features : Shaping.pad(features, new int[][] {{0, 0}, {0, 1}}, 0);
  }

  private static float[] frequencies(int half, double shift) {
    float[] f = new float[half];
    for (int i = 0; i < half; i++) {
      float exponent = (float) (-Math.log(10000) * i) / (float) (half - shift);
      f[i] = (float) Math.exp(exponent);
    }
    return f;
  }
}
