// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.batch;

import io.sfumato.models.data.Pictures.Size;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.TreeSet;

/**
 * Sizes of about one area and different proportions; a picture goes to the one whose proportions
 * are nearest to its own, so that little of it is cut off (NovelAI's aspect ratio bucketing; Podell
 * et al. 2023, SDXL, section 2.3).
 *
 * @param sizes from the narrowest width on
 */
public record Buckets(List<Size> sizes) implements Bucketing {
  /** Checks that there are sizes, and sorts them by width, then height. */
  public Buckets {
    if (sizes.isEmpty()) {
      throw new IllegalArgumentException("there must be a bucket");
    }
    sizes =
        sizes.stream()
            .distinct()
            .sorted(Comparator.comparingInt(Size::width).thenComparingInt(Size::height))
            .toList();
  }

  /**
   * The sizes that kohya's sd-scripts make ({@code model_util.make_bucket_resolutions}): for each
   * width from {@code minSide} to {@code maxSide} in steps, the greatest height with {@code width *
   * height <= side * side}, in steps too and at most {@code maxSide}; those whose height is at
   * least {@code minSide}, each also with width and height exchanged; and the square.
   *
   * @param side the square root of the area, in pixels
   * @param step every width and height is a multiple of it
   * @param minSide the least width and height
   * @param maxSide the greatest width and height
   * @return the buckets
   * @throws IllegalArgumentException with everything that is wrong
   */
  public static Buckets of(int side, int step, int minSide, int maxSide) {
    List<String> wrong = new ArrayList<>();
    if (step < 1) {
      wrong.add("the step must be positive; got " + step);
    }
    if (side < step || side > 8192) {
      wrong.add("the side of the square must be " + step + " to 8192; got " + side);
    }
    if (minSide < 1 || minSide > side || maxSide < side || maxSide > 8192) {
      wrong.add(
          "the least side must be 1 to "
              + side
              + " and the greatest "
              + side
              + " to 8192; got "
              + minSide
              + " and "
              + maxSide);
    }
    if (!wrong.isEmpty()) {
      throw new IllegalArgumentException("buckets: " + String.join("; ", wrong));
    }
    TreeSet<Size> sizes =
        new TreeSet<>(Comparator.comparingInt(Size::width).thenComparingInt(Size::height));
    int square = side / step * step;
    sizes.add(new Size(square, square));
    int area = side * side;
    for (int width = (minSide + step - 1) / step * step; width <= maxSide; width += step) {
      int height = Math.min(maxSide / step * step, area / width / step * step);
      if (height >= minSide && height > 0) {
        sizes.add(new Size(height, width));
        sizes.add(new Size(width, height));
      }
    }
    return new Buckets(List.copyOf(sizes));
  }

  /**
   * The buckets around a square: sides from half of it to twice it.
   *
   * @param side the side of the square, in pixels
   * @param step every width and height is a multiple of it
   * @return the buckets
   */
  public static Buckets around(int side, int step) {
    return of(side, step, Math.max(step, side / 2), 2 * side);
  }

  @Override
  public Size bucket(Size picture) {
    return sizes.get(nearest(picture));
  }

  /**
   * The bucket of a picture: the one of its own size, else the one with the least difference of
   * width / height, the narrower one of two.
   *
   * @param picture the size of the picture
   * @return the position in {@link #sizes}
   */
  public int nearest(Size picture) {
    int own = sizes.indexOf(picture);
    if (own >= 0) {
      return own;
    }
    double ratio = (double) picture.width() / picture.height();
    int best = 0;
    double least = Double.POSITIVE_INFINITY;
    for (int i = 0; i < sizes.size(); i++) {
      double difference = Math.abs((double) sizes.get(i).width() / sizes.get(i).height() - ratio);
      if (difference < least) {
        least = difference;
        best = i;
      }
    }
    return best;
  }
}
