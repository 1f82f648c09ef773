// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import java.util.Arrays;

/** Ways from one latent to another. */
public final class LatentPath {
  private LatentPath() {}

  /** The straight line {@code (1 - t) a + t b}. */
  public static Tensor linear(Tensor a, Tensor b, double t) {
    requireOneShape(a, b);
    return a.mul(1 - t).add(b.mul(t));
  }

  /**
   * The arc {@code sin((1 - t) ω) / sin ω · a + sin(t ω) / sin ω · b} with the angle ω between a
   * and b (Shoemake 1985), row by row. Between two draws of normal noise it stays as long as such
   * draws are, where the straight line gets shorter; for (almost) parallel rows it is that line.
   *
   * @param a [B, ...]
   * @param b of the same shape
   * @param t 0 for a, 1 for b
   */
  public static Tensor spherical(Tensor a, Tensor b, double t) {
    requireOneShape(a, b);
    int rows = a.dim(0);
    double[] as = a.toDoubleArray();
    double[] bs = b.toDoubleArray();
    int n = as.length / Math.max(1, rows);
    double[] left = new double[rows];
    double[] right = new double[rows];
    for (int row = 0; row < rows; row++) {
      double aa = 0;
      double bb = 0;
      double ab = 0;
      for (int i = row * n; i < (row + 1) * n; i++) {
        aa += as[i] * as[i];
        bb += bs[i] * bs[i];
        ab += as[i] * bs[i];
      }
      double cos = ab / Math.sqrt(aa * bb);
      double angle = Math.acos(Math.max(-1, Math.min(1, cos)));
      double sin = Math.sin(angle);
      boolean parallel = !(sin > 1e-6); // NaN if a row is zero
      left[row] = parallel ? 1 - t : Math.sin((1 - t) * angle) / sin;
      right[row] = parallel ? t : Math.sin(t * angle) / sin;
    }
    int[] column = new int[a.rank()];
    Arrays.fill(column, 1);
    column[0] = rows;
    Tensor l = Tensor.of(left, a.dtype(), a.device(), column);
    Tensor r = Tensor.of(right, a.dtype(), a.device(), column);
    return a.mul(l).add(b.mul(r));
  }

  private static void requireOneShape(Tensor a, Tensor b) {
    if (!a.shape().equals(b.shape()) || a.rank() < 1) {
      throw new ShapeException(
          "both latents must have one shape [B, ...]; got " + a.spec() + ", " + b.spec());
    }
  }
}
