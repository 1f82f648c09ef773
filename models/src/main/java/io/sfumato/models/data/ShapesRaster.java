// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

/**
 * Draws a {@link ShapeScene}. Coordinates of a shape are in units of its radius, y down. A pixel's
 * coverage is the number of its 8 x 8 sub-pixel centres inside the shape, and its value the blend
 * of the two colours by that, rounded. Only +, -, * and / on doubles, so all machines agree.
 */
final class ShapesRaster {
  private static final int SAMPLES = 8;
  private static final int FULL = SAMPLES * SAMPLES;

  /** How far shapes stay from the border, as a part of the width. */
  private static final double MARGIN = 0.03;

  /** The largest offset of a position from the centre. */
  private static final double REACH = 0.30;

  /** No shape reaches further than this from its centre, in radii. */
  private static final double EXTENT = 1.15;

  /** Five points of radius 1.1 and five notches of radius 0.48 between them, clockwise. */
  private static final double[][] STAR = star(1.1, 0.48);

  private ShapesRaster() {}

  /**
   * Draws into {@code [3, n, n]} bytes.
   *
   * @param scene what to draw
   * @param dx shift to the right, as a part of the width
   * @param dy shift down
   * @param growth factor on the radius
   * @param n resolution
   * @param target where to
   * @param offset the first byte of {@code target} to write
   */
  static void draw(
      ShapeScene scene, double dx, double dy, double growth, int n, byte[] target, int offset) {
    double radius = scene.size().radius() * growth;
    double reach = Math.min(REACH, 0.5 - MARGIN - scene.size().radius());
    double limit = Math.max(0, 0.5 - 1.05 * radius);
    double cx = 0.5 + clamp(scene.position().dx() * reach + dx, limit);
    double cy = 0.5 + clamp(scene.position().dy() * reach + dy, limit);
    int left = Math.max(0, (int) ((cx - EXTENT * radius) * n));
    int right = Math.min(n - 1, (int) ((cx + EXTENT * radius) * n));
    int top = Math.max(0, (int) ((cy - EXTENT * radius) * n));
    int bottom = Math.min(n - 1, (int) ((cy + EXTENT * radius) * n));
    int front = scene.colour().rgb();
    int back = scene.background().rgb();
    for (int y = 0; y < n; y++) {
      for (int x = 0; x < n; x++) {
        boolean near = x >= left && x <= right && y >= top && y <= bottom;
        int covered = near ? coverage(scene.shape(), x, y, n, cx, cy, radius) : 0;
        for (int c = 0; c < 3; c++) {
          int shift = 16 - 8 * c;
          int f = front >> shift & 0xFF;
          int b = back >> shift & 0xFF;
          int value = (f * covered + b * (FULL - covered) + FULL / 2) / FULL;
          target[offset + (c * n + y) * n + x] = (byte) value;
        }
      }
    }
  }

  private static int coverage(
      ShapeScene.Shape shape, int x, int y, int n, double cx, double cy, double radius) {
    int covered = 0;
    for (int i = 0; i < SAMPLES; i++) {
      double v = ((y + (i + 0.5) / SAMPLES) / n - cy) / radius;
      for (int j = 0; j < SAMPLES; j++) {
        double u = ((x + (j + 0.5) / SAMPLES) / n - cx) / radius;
        if (inside(shape, u, v)) {
          covered++;
        }
      }
    }
    return covered;
  }

  /** Whether the point (u right, v down) lies in the shape of radius about 1. */
  static boolean inside(ShapeScene.Shape shape, double u, double v) {
    double a = Math.abs(u);
    double b = Math.abs(v);
    return switch (shape) {
      case CIRCLE -> u * u + v * v <= 0.95 * 0.95;
      case SQUARE -> a <= 0.84 && b <= 0.84;
      // From v = -1.05 to 0.75, half-width 1.04 at the bottom.
      case TRIANGLE -> v <= 0.75 && a <= (v + 1.05) * (1.04 / 1.8);
      case STAR -> insidePolygon(STAR, u, v - 0.06);
      case HEART -> insideHeart(a * 1.15, 0.16 - v * 1.15);
      case RING -> u * u + v * v <= 1 && u * u + v * v >= 0.54 * 0.54;
      case CROSS -> a <= 0.32 && b <= 1 || b <= 0.32 && a <= 1;
      case DIAMOND -> a / 0.86 + b / 1.05 <= 1;
      // A disc less a smaller one to the right.
      case MOON -> {
        double w = u - 0.18;
        double cut = w - 0.50;
        yield w * w + v * v <= 1 && cut * cut + v * v >= 0.78 * 0.78;
      }
      // A head from u = 0 to 1.05 and a shaft behind it.
      case ARROW -> u > 0 ? b <= (1.05 - u) * (0.95 / 1.05) : u >= -0.95 && b <= 0.34;
    };
  }

  /** The sextic heart (x² + y² - 1)³ ≤ x² y³, y up; it spans about ±1.14 by -1 to 1.24. */
  private static boolean insideHeart(double x, double y) {
    double d = x * x + y * y - 1;
    return d * d * d <= x * x * y * y * y;
  }

  /** Even-odd rule. */
  private static boolean insidePolygon(double[][] points, double u, double v) {
    boolean inside = false;
    double[] p = points[points.length - 1];
    for (double[] q : points) {
      if (q[1] > v != p[1] > v && u < (p[0] - q[0]) * (v - q[1]) / (p[1] - q[1]) + q[0]) {
        inside = !inside;
      }
      p = q;
    }
    return inside;
  }

  private static double[][] star(double outer, double inner) {
    // sin and cos of 0, 36, 72, 108, 144 degrees and so on; literals, as Math.sin may differ.
    double[] sin = {
      0, 0.58778525229247313, 0.95105651629515357, 0.95105651629515357, 0.58778525229247313
    };
    double[] cos = {
      1, 0.80901699437494742, 0.30901699437494742, -0.30901699437494742, -0.80901699437494742
    };
    double[][] points = new double[10][];
    for (int i = 0; i < 10; i++) {
      double r = i % 2 == 0 ? outer : inner;
      int sign = i < 5 ? 1 : -1;
      points[i] = new double[] {sign * r * sin[i % 5], -sign * r * cos[i % 5]};
    }
    return points;
  }

  private static double clamp(double value, double limit) {
    return Math.max(-limit, Math.min(limit, value));
  }
}
