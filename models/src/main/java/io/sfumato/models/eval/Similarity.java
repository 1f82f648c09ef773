// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.eval;

import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Parallel;

/** How alike two pictures are, pixel by pixel; one number per picture of a batch. */
public final class Similarity {
  private static final int RADIUS = 5;
  private static final int WINDOW = 2 * RADIUS + 1;
  private static final double SIGMA = 1.5;
  private static final double K1 = 0.01;
  private static final double K2 = 0.03;
  private static final double[] GAUSSIAN = gaussian();

  private Similarity() {}

  /**
   * Peak signal-to-noise ratio in decibels: 10 log₁₀(range² / mean squared error), infinite for
   * equal pictures.
   *
   * @param a [N, C, H, W]
   * @param b of the same shape
   * @param range the largest value less the smallest that pictures can have: 255 for bytes, 2 for
   *     [-1, 1]
   * @return [N]
   */
  public static double[] psnr(Tensor a, Tensor b, double range) {
    require(a, b, range, 1);
    double[] x = a.toDoubleArray();
    double[] y = b.toDoubleArray();
    int pixels = a.dim(1) * a.dim(2) * a.dim(3);
    double[] results = new double[a.dim(0)];
    for (int i = 0; i < results.length; i++) {
      double sum = 0;
      for (int p = i * pixels; p < (i + 1) * pixels; p++) {
        sum += (x[p] - y[p]) * (x[p] - y[p]);
      }
      results[i] = 10 * Math.log10(range * range / (sum / pixels));
    }
    return results;
  }

  /**
   * Structural similarity (Wang et al., 2004): the mean over channels and all places where the
   * window fits of
   *
   * <pre>(2 μx μy + C₁)(2 σxy + C₂) / ((μx² + μy² + C₁)(σx² + σy² + C₂))</pre>
   *
   * with moments in a Gaussian window of 11 x 11, σ = 1.5, C₁ = (0.01 range)², C₂ = (0.03 range)².
   * As scikit-image ({@code gaussian_weights=True, use_sample_covariance=False}) and torchmetrics
   * compute it.
   *
   * @param a [N, C, H, W], H and W at least 11
   * @param b of the same shape
   * @param range the largest value less the smallest that pictures can have
   * @return [N], each 1 for equal pictures
   */
  public static double[] ssim(Tensor a, Tensor b, double range) {
    require(a, b, range, WINDOW);
    int channels = a.dim(1);
    int height = a.dim(2);
    int width = a.dim(3);
    int pixels = height * width;
    double[] x = a.toDoubleArray();
    double[] y = b.toDoubleArray();
    double[] planes = new double[a.dim(0) * channels];
    Parallel.forRange(
        planes.length,
        1,
        (begin, end, worker) -> {
          for (int p = begin; p < end; p++) {
            planes[p] = plane(x, y, p * pixels, height, width, range);
          }
        });
    double[] results = new double[a.dim(0)];
    for (int p = 0; p < planes.length; p++) {
      results[p / channels] += planes[p] / channels;
    }
    return results;
  }

  private static double plane(
      double[] x, double[] y, int offset, int height, int width, double range) {
    int pixels = height * width;
    double[][] products = new double[5][pixels];
    for (int p = 0; p < pixels; p++) {
      double u = x[offset + p];
      double v = y[offset + p];
      products[0][p] = u;
      products[1][p] = v;
      products[2][p] = u * u;
      products[3][p] = v * v;
      products[4][p] = u * v;
    }
    for (int k = 0; k < products.length; k++) {
      products[k] = filtered(products[k], height, width);
    }
    double c1 = (K1 * range) * (K1 * range);
    double c2 = (K2 * range) * (K2 * range);
    double sum = 0;
    for (int p = 0; p < products[0].length; p++) {
      double mx = products[0][p];
      double my = products[1][p];
      double vx = products[2][p] - mx * mx;
      double vy = products[3][p] - my * my;
      double cov = products[4][p] - mx * my;
      sum += (2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2));
    }
    return sum / products[0].length;
  }

  /** The Gaussian mean at each place where the window fits: [H, W] to [H - 10, W - 10]. */
  private static double[] filtered(double[] plane, int height, int width) {
    int outWidth = width - 2 * RADIUS;
    int outHeight = height - 2 * RADIUS;
    double[] rows = new double[height * outWidth];
    for (int i = 0; i < height; i++) {
      for (int j = 0; j < outWidth; j++) {
        double sum = 0;
        for (int k = 0; k < WINDOW; k++) {
          sum += GAUSSIAN[k] * plane[i * width + j + k];
        }
        rows[i * outWidth + j] = sum;
      }
    }
    double[] result = new double[outHeight * outWidth];
    for (int i = 0; i < outHeight; i++) {
      for (int j = 0; j < outWidth; j++) {
        double sum = 0;
        for (int k = 0; k < WINDOW; k++) {
          sum += GAUSSIAN[k] * rows[(i + k) * outWidth + j];
        }
        result[i * outWidth + j] = sum;
      }
    }
    return result;
  }

  private static double[] gaussian() {
    double[] weights = new double[WINDOW];
    double sum = 0;
    for (int i = 0; i < WINDOW; i++) {
      double u = (i - RADIUS) / SIGMA;
      weights[i] = Math.exp(-0.5 * u * u);
      sum += weights[i];
    }
    for (int i = 0; i < WINDOW; i++) {
      weights[i] /= sum;
    }
    return weights;
  }

  private static void require(Tensor a, Tensor b, double range, int side) {
    if (a.rank() != 4 || !a.shape().equals(b.shape())) {
      throw new ShapeException(
          "pictures must be [N, C, H, W], both alike; got " + a.spec() + " and " + b.spec());
    }
    if (a.dim(2) < side || a.dim(3) < side) {
      throw new ShapeException(
          "pictures must be at least " + side + " x " + side + "; got " + a.spec());
    }
    if (!(range > 0) || Double.isInfinite(range)) {
      throw new IllegalArgumentException("range must be positive; got " + range);
    }
  }
}
