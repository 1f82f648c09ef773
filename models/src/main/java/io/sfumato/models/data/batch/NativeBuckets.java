// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.batch;

import io.sfumato.models.data.Pictures.Size;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Buckets that enlarge no picture, as {@code bucket_no_upscale} of kohya's sd-scripts makes them
 * ({@code BucketManager.select_bucket}). There is no list of sizes; each picture gives its own.
 *
 * <p>A picture of w x h pixels with {@code w h <= side^2} stays as it is. A larger one is made
 * smaller: with {@code a = w / h}, {@code w' = sqrt(side^2 a)}, {@code h' = side^2 / w'} and {@code
 * r(x)} for x rounded to a whole number and then down to a multiple of the step, either its width
 * becomes {@code r(w')}, or its height {@code r(h')}, the other side being rounded to a whole
 * number; whichever brings {@code r(w') / r(r(w') / a)} or {@code r(r(h') a) / r(h')} nearer to a,
 * the height if both are as near. The bucket has these sides rounded down to multiples of the step;
 * what is over is cut off, nothing is filled up. A picture with a side below the step suits no
 * bucket (sd-scripts fails there).
 *
 * @param side the square root of the largest area, in pixels
 * @param step every width and height of a bucket is a multiple of it
 */
public record NativeBuckets(int side, int step) implements Bucketing {
  /** Checks the values. */
  public NativeBuckets {
    List<String> wrong = new ArrayList<>();
    if (step < 1) {
      wrong.add("the step must be positive; got " + step);
    }
    if (side < step || side > 8192) {
      wrong.add("the side of the square must be " + step + " to 8192; got " + side);
    }
    if (!wrong.isEmpty()) {
      throw new IllegalArgumentException("buckets: " + String.join("; ", wrong));
    }
  }

  /**
   * {@return the size that a whole picture is resized to, before a window of the bucket's size is
   * cut out; null if a side would be of no step}
   *
   * @param picture the size of the picture
   */
  public @Nullable Size resized(Size picture) {
    double area = (double) side * side;
    if ((double) picture.width() * picture.height() <= area) {
      return picture;
    }
    double ratio = (double) picture.width() / picture.height();
    double width = Math.sqrt(area * ratio);
    int byWidth = rounded(width);
    int byHeight = rounded(area / width);
    double ratioByWidth = (double) byWidth / rounded(byWidth / ratio);
    double ratioByHeight = (double) rounded(byHeight * ratio) / byHeight;
    if (!Double.isFinite(ratioByWidth) || !Double.isFinite(ratioByHeight)) {
      return null; // a side of no step
    }
    int newWidth = byWidth;
    int newHeight = byHeight;
    if (Math.abs(ratioByWidth - ratio) < Math.abs(ratioByHeight - ratio)) {
      newHeight = (int) (byWidth / ratio + 0.5);
    } else {
      newWidth = (int) (byHeight * ratio + 0.5);
    }
    return newWidth < 1 || newHeight < 1 ? null : new Size(newHeight, newWidth);
  }

  private int rounded(double pixels) {
    int whole = (int) (pixels + 0.5);
    return whole - whole % step;
  }

  @Override
  public @Nullable Size bucket(Size picture) {
    Size resized = resized(picture);
    if (resized == null || resized.width() < step || resized.height() < step) {
      return null;
    }
    return new Size(
        resized.height() - resized.height() % step, resized.width() - resized.width() % step);
  }
}
