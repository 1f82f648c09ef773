// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

/**
 * Antialiased linear resampling, separable. Target pixel {@code i} is the weighted mean of the
 * source pixels {@code j} around {@code (i + 0.5) * scale}, {@code scale = source / target}, with
 * the triangle weight {@code 1 - |j + 0.5 - centre| / max(1, scale)}: bilinear interpolation going
 * up, a filter as wide as two target pixels going down. The same as Pillow's {@code BILINEAR}, but
 * in float throughout.
 *
 * <p>Source rows come one at a time, top to bottom, so a large image is never held as floats.
 */
final class Resampler {
  /** Weights of one axis: target i takes source first[i] + k with weight weights[i][k]. */
  private record Axis(int[] first, float[][] weights) {}

  private final int channels;
  private final int targetWidth;
  private final int targetHeight;
  private final Axis horizontal;
  private final Axis vertical;
  private final float[] narrowed;
  private final float[] sums;
  private int row;
  private int firstOpenTarget;

  Resampler(int channels, int sourceWidth, int sourceHeight, int targetWidth, int targetHeight) {
    this.channels = channels;
    this.targetWidth = targetWidth;
    this.targetHeight = targetHeight;
    this.horizontal = axis(sourceWidth, targetWidth);
    this.vertical = axis(sourceHeight, targetHeight);
    this.narrowed = new float[channels * targetWidth];
    this.sums = new float[targetHeight * channels * targetWidth];
  }

  /**
   * Takes the next source row.
   *
   * @param pixels {@code [W, C]}, values 0 to 255
   */
  void addRow(float[] pixels) {
    for (int i = 0; i < targetWidth; i++) {
      float[] weights = horizontal.weights()[i];
      int first = horizontal.first()[i];
      for (int c = 0; c < channels; c++) {
        float sum = 0;
        for (int k = 0; k < weights.length; k++) {
          sum += weights[k] * pixels[(first + k) * channels + c];
        }
        narrowed[i * channels + c] = sum;
      }
    }
    // First and last rows of the targets' windows grow with the target, so the open ones are a run.
    for (int i = firstOpenTarget; i < targetHeight && vertical.first()[i] <= row; i++) {
      int k = row - vertical.first()[i];
      float[] weights = vertical.weights()[i];
      if (k >= weights.length) {
        firstOpenTarget = Math.max(firstOpenTarget, i + 1);
        continue;
      }
      int base = i * narrowed.length;
      for (int x = 0; x < narrowed.length; x++) {
        sums[base + x] += weights[k] * narrowed[x];
      }
    }
    row++;
  }

  /** {@return the result after the last row, rounded, {@code [C, H, W]}} */
  byte[] result() {
    byte[] result = new byte[sums.length];
    for (int y = 0; y < targetHeight; y++) {
      for (int x = 0; x < targetWidth; x++) {
        for (int c = 0; c < channels; c++) {
          float value = sums[(y * targetWidth + x) * channels + c];
          result[(c * targetHeight + y) * targetWidth + x] =
              (byte) Math.max(0, Math.min(255, Math.round(value)));
        }
      }
    }
    return result;
  }

  private static Axis axis(int source, int target) {
    double scale = (double) source / target;
    double support = Math.max(1, scale);
    int[] first = new int[target];
    float[][] weights = new float[target][];
    for (int i = 0; i < target; i++) {
      double centre = (i + 0.5) * scale;
      int begin = Math.max(0, (int) Math.floor(centre - support));
      int end = Math.min(source, (int) Math.ceil(centre + support));
      double[] raw = new double[end - begin];
      double total = 0;
      for (int k = 0; k < raw.length; k++) {
        raw[k] = Math.max(0, 1 - Math.abs(begin + k + 0.5 - centre) / support);
        total += raw[k];
      }
      first[i] = begin;
      weights[i] = new float[raw.length];
      for (int k = 0; k < raw.length; k++) {
        weights[i][k] = (float) (raw[k] / total);
      }
    }
    return new Axis(first, weights);
  }
}
