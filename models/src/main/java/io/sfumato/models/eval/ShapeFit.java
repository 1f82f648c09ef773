// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.eval;

import io.sfumato.models.data.ShapeScene.Shape;
import java.util.EnumMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A shape laid over a picture where it fits best. Lengths are parts of the picture's width.
 *
 * @param centreX from the left
 * @param centreY from the top
 * @param radius of the shape
 * @param error the sum of squared differences between coverage and opacity
 */
record ShapeFit(double centreX, double centreY, double radius, double error) {
  private static final int SAMPLES = 3;
  private static final double LEAST_RADIUS = 0.12;
  private static final double MOST_RADIUS = 0.36;

  /** No shape reaches further than this from its centre, in radii. */
  private static final double EXTENT = 1.2;

  /** Less opacity than this counts as none where area and centroid are taken. */
  private static final double NOISE = 0.2;

  private static final Map<Shape, Moments> MOMENTS = new EnumMap<>(Shape.class);

  static {
    for (Shape shape : Shape.values()) {
      MOMENTS.put(shape, moments(shape));
    }
  }

  /** Area and centroid of a shape of radius 1. */
  private record Moments(double area, double u, double v) {}

  private static Moments moments(Shape shape) {
    int n = 480;
    double count = 0;
    double u = 0;
    double v = 0;
    for (int i = 0; i < n; i++) {
      for (int j = 0; j < n; j++) {
        double y = EXTENT * (2 * (i + 0.5) / n - 1);
        double x = EXTENT * (2 * (j + 0.5) / n - 1);
        if (shape.contains(x, y)) {
          count++;
          u += x;
          v += y;
        }
      }
    }
    double cell = 2 * EXTENT / n;
    return new Moments(count * cell * cell, u / count, v / count);
  }

  /**
   * A shape where area and centroid of the picture put it, or null if nothing is opaque.
   *
   * @param opacity [side, side], 0 to 1
   */
  static @Nullable ShapeFit start(Shape shape, double[] opacity, int side) {
    double area = 0;
    double x = 0;
    double y = 0;
    for (int p = 0; p < opacity.length; p++) {
      double a = opacity[p] < NOISE ? 0 : opacity[p];
      area += a;
      x += a * (p % side + 0.5);
      y += a * (p / side + 0.5);
    }
    if (area == 0) {
      return null;
    }
    Moments unit = MOMENTS.getOrDefault(shape, new Moments(1, 0, 0));
    double radius = Math.clamp(Math.sqrt(area / unit.area()) / side, LEAST_RADIUS, MOST_RADIUS);
    return at(
        shape,
        opacity,
        side,
        x / area / side - radius * unit.u(),
        y / area / side - radius * unit.v(),
        radius);
  }

  /** This fit, moved and scaled by up to {@code step} at a time, then by less, until it is best. */
  ShapeFit refined(Shape shape, double[] opacity, int side, double step, double last) {
    ShapeFit best = this;
    for (double size = step; size > last; size /= 2) {
      best = descend(shape, opacity, side, best, size);
    }
    return best;
  }

  /** Moves along one axis at a time as long as that helps. */
  private static ShapeFit descend(
      Shape shape, double[] opacity, int side, ShapeFit from, double step) {
    ShapeFit best = from;
    ShapeFit before;
    int rounds = 0;
    do {
      before = best;
      for (int axis = 0; axis < 3; axis++) {
        for (double move : new double[] {-step, step}) {
          ShapeFit moved =
              at(
                  shape,
                  opacity,
                  side,
                  best.centreX + (axis == 0 ? move : 0),
                  best.centreY + (axis == 1 ? move : 0),
                  Math.clamp(best.radius + (axis == 2 ? move : 0), LEAST_RADIUS, MOST_RADIUS));
          if (moved.error < best.error) {
            best = moved;
          }
        }
      }
    } while (best != before && ++rounds < 3);
    return best;
  }

  private static ShapeFit at(
      Shape shape, double[] opacity, int side, double x, double y, double radius) {
    double[] coverage = coverage(shape, side, x, y, radius);
    double error = 0;
    for (int p = 0; p < opacity.length; p++) {
      error += (coverage[p] - opacity[p]) * (coverage[p] - opacity[p]);
    }
    return new ShapeFit(x, y, radius, error);
  }

  /** The part of each pixel that the shape covers, [side, side]. */
  double[] coverage(Shape shape, int side) {
    return coverage(shape, side, centreX, centreY, radius);
  }

  private static double[] coverage(Shape shape, int side, double x, double y, double radius) {
    double[] coverage = new double[side * side];
    int left = Math.max(0, (int) ((x - EXTENT * radius) * side));
    int right = Math.min(side - 1, (int) ((x + EXTENT * radius) * side));
    int top = Math.max(0, (int) ((y - EXTENT * radius) * side));
    int bottom = Math.min(side - 1, (int) ((y + EXTENT * radius) * side));
    for (int i = top; i <= bottom; i++) {
      for (int j = left; j <= right; j++) {
        int inside = 0;
        for (int s = 0; s < SAMPLES * SAMPLES; s++) {
          double v = ((i + (s / SAMPLES + 0.5) / SAMPLES) / side - y) / radius;
          double u = ((j + (s % SAMPLES + 0.5) / SAMPLES) / side - x) / radius;
          inside += shape.contains(u, v) ? 1 : 0;
        }
        coverage[i * side + j] = inside / (double) (SAMPLES * SAMPLES);
      }
    }
    return coverage;
  }
}
