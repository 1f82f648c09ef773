// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.eval;

import io.sfumato.models.data.ShapeScene;
import io.sfumato.models.data.ShapeScene.Background;
import io.sfumato.models.data.ShapeScene.Colour;
import io.sfumato.models.data.ShapeScene.Position;
import io.sfumato.models.data.ShapeScene.Shape;
import io.sfumato.models.data.ShapeScene.Size;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;

/**
 * Reads a picture of the shapes world: which shape, of which colour, where, how large, on which
 * background. So it can be said whether a generated picture shows what was asked for.
 *
 * <p>No learning: the background is the median of the border; the colour is the one whose blends
 * with the background explain the pixels best; each shape is laid over the picture where its area
 * and centroid say, moved and scaled until it fits best, and the one that leaves the least is
 * taken. A picture that no shape explains shows none.
 */
public final class ShapesCheck {
  /** The part of a picture's contrast that a fitted shape may leave unexplained. */
  private static final double MOST_MISFIT = 0.25;

  /** The mean squared difference from the background, in bytes, below which a picture is empty. */
  private static final double LEAST_CONTRAST = 100;

  /** How far a colour may be from the one it is taken for, as a Euclidean distance of bytes. */
  private static final double MOST_COLOUR_ERROR = 60;

  private ShapesCheck() {}

  /**
   * What a picture shows.
   *
   * @param shape the shape
   * @param colour its colour
   * @param size its size
   * @param position its place
   * @param background the nearest background
   * @param misfit the part of the contrast that this leaves unexplained: 0 for a drawn scene, up to
   *     0.25
   */
  public record Reading(
      Shape shape,
      Colour colour,
      Size size,
      Position position,
      Background background,
      double misfit) {}

  /** Whether a picture shows a shape of a kind and a colour; see {@link #read}. */
  public static boolean shows(byte[] pixels, int side, Shape shape, Colour colour) {
    return read(pixels, side).filter(r -> r.shape() == shape && r.colour() == colour).isPresent();
  }

  /** Whether a picture shows a scene in all five attributes; see {@link #read}. */
  public static boolean shows(byte[] pixels, int side, ShapeScene scene) {
    return read(pixels, side)
        .filter(r -> r.shape() == scene.shape() && r.colour() == scene.colour())
        .filter(r -> r.size() == scene.size() && r.position() == scene.position())
        .filter(r -> r.background() == scene.background())
        .isPresent();
  }

  /**
   * Reads a picture.
   *
   * @param pixels [3, side, side], unsigned bytes
   * @param side height and width, 12 or more: smaller pictures do not tell small shapes apart
   * @return empty if it shows none of the shapes in one of the colours
   * @throws IllegalArgumentException if the sizes do not agree
   */
  public static Optional<Reading> read(byte[] pixels, int side) {
    if (side < 12 || pixels.length != 3 * side * side) {
      throw new IllegalArgumentException(
          "a picture must have 3 x side x side bytes and a side of 12 or more; got "
              + pixels.length
              + " bytes for side "
              + side);
    }
    double[][] channels = new double[3][side * side];
    double[] back = new double[3];
    for (int c = 0; c < 3; c++) {
      for (int p = 0; p < side * side; p++) {
        channels[c][p] = pixels[c * side * side + p] & 0xFF;
      }
      back[c] = borderMedian(channels[c], side);
    }
    double contrast = 0;
    for (int c = 0; c < 3; c++) {
      for (double v : channels[c]) {
        contrast += (v - back[c]) * (v - back[c]);
      }
    }
    if (contrast / (side * side) < LEAST_CONTRAST) {
      return Optional.empty();
    }
    double[] opacity = opacity(channels, back, blendedColour(channels, back));
    List<Candidate> candidates = new ArrayList<>();
    for (Shape shape : Shape.values()) {
      ShapeFit start = ShapeFit.start(shape, opacity, side);
      if (start == null) {
        return Optional.empty();
      }
      candidates.add(new Candidate(shape, start.refined(shape, opacity, side, 0.024, 0.01)));
    }
    candidates.sort(Comparator.comparingDouble(c -> c.fit.error()));
    Candidate best =
        candidates.subList(0, 3).stream()
            .map(c -> new Candidate(c.shape, c.fit.refined(c.shape, opacity, side, 0.01, 0.002)))
            .min(Comparator.comparingDouble(c -> c.fit.error()))
            .orElseThrow();
    return reading(best.shape, best.fit, channels, back, contrast, side);
  }

  private record Candidate(Shape shape, ShapeFit fit) {}

  private static Optional<Reading> reading(
      Shape shape, ShapeFit fit, double[][] channels, double[] back, double contrast, int side) {
    double[] coverage = fit.coverage(shape, side);
    double cc = 0;
    double cb = 0;
    double bb = 0;
    for (double a : coverage) {
      cc += a * a;
      cb += a * (1 - a);
      bb += (1 - a) * (1 - a);
    }
    double determinant = cc * bb - cb * cb;
    if (determinant <= 0) {
      return Optional.empty();
    }
    double[] front = new double[3];
    double left = 0;
    for (int c = 0; c < 3; c++) { // least squares for both colours, given the coverage
      double f = 0;
      double b = 0;
      for (int p = 0; p < coverage.length; p++) {
        f += coverage[p] * channels[c][p];
        b += (1 - coverage[p]) * channels[c][p];
      }
      front[c] = (f * bb - b * cb) / determinant;
      double behind = (b * cc - f * cb) / determinant;
      for (int p = 0; p < coverage.length; p++) {
        double model = coverage[p] * front[c] + (1 - coverage[p]) * behind;
        left += (channels[c][p] - model) * (channels[c][p] - model);
      }
    }
    double misfit = left / contrast;
    Colour colour = nearest(front);
    if (misfit > MOST_MISFIT || distance(front, colour.rgb()) > MOST_COLOUR_ERROR) {
      return Optional.empty();
    }
    Background background =
        Arrays.stream(Background.values())
            .min((a, b) -> Double.compare(distance(back, a.rgb()), distance(back, b.rgb())))
            .orElseThrow();
    Size size =
        Arrays.stream(Size.values())
            .min(
                (a, b) ->
                    Double.compare(
                        Math.abs(fit.radius() - a.radius()), Math.abs(fit.radius() - b.radius())))
            .orElseThrow();
    return Optional.of(new Reading(shape, colour, size, position(fit, size), background, misfit));
  }

  private static Position position(ShapeFit fit, Size size) {
    double reach = Math.min(0.30, 0.47 - size.radius()); // as the scenes are drawn
    int dx = third(fit.centreX(), reach);
    int dy = third(fit.centreY(), reach);
    return Arrays.stream(Position.values())
        .filter(p -> p.dx() == dx && p.dy() == dy)
        .findFirst()
        .orElseThrow();
  }

  private static int third(double centre, double reach) {
    double shift = centre - 0.5;
    return Math.abs(shift) < reach / 2 ? 0 : shift < 0 ? -1 : 1;
  }

  private static double borderMedian(double[] channel, int side) {
    double[] border = new double[4 * side - 4];
    int count = 0;
    for (int i = 0; i < side; i++) {
      border[count++] = channel[i];
      border[count++] = channel[(side - 1) * side + i];
      if (i > 0 && i < side - 1) {
        border[count++] = channel[i * side];
        border[count++] = channel[i * side + side - 1];
      }
    }
    Arrays.sort(border);
    return border[border.length / 2];
  }

  /** The colour whose blends with the background come closest to all pixels. */
  private static Colour blendedColour(double[][] channels, double[] back) {
    Colour best = Colour.RED;
    double least = Double.POSITIVE_INFINITY;
    for (Colour colour : Colour.values()) {
      double[] opacity = opacity(channels, back, colour);
      double error = 0;
      for (int c = 0; c < 3; c++) {
        double full = channel(colour.rgb(), c) - back[c];
        for (int p = 0; p < opacity.length; p++) {
          double rest = channels[c][p] - back[c] - opacity[p] * full;
          error += rest * rest;
        }
      }
      if (error < least) {
        least = error;
        best = colour;
      }
    }
    return best;
  }

  /** How much of a colour each pixel holds, 0 to 1, the rest being background. */
  private static double[] opacity(double[][] channels, double[] back, Colour colour) {
    double[] opacity = new double[channels[0].length];
    double square = 0;
    for (int c = 0; c < 3; c++) {
      double full = channel(colour.rgb(), c) - back[c];
      square += full * full;
      for (int p = 0; p < opacity.length; p++) {
        opacity[p] += (channels[c][p] - back[c]) * full;
      }
    }
    for (int p = 0; p < opacity.length; p++) {
      opacity[p] = square == 0 ? 0 : Math.clamp(opacity[p] / square, 0, 1);
    }
    return opacity;
  }

  private static Colour nearest(double[] rgb) {
    return Arrays.stream(Colour.values())
        .min((a, b) -> Double.compare(distance(rgb, a.rgb()), distance(rgb, b.rgb())))
        .orElseThrow();
  }

  private static double distance(double[] colour, int rgb) {
    double sum = 0;
    for (int c = 0; c < 3; c++) {
      double difference = colour[c] - channel(rgb, c);
      sum += difference * difference;
    }
    return Math.sqrt(sum);
  }

  private static int channel(int rgb, int c) {
    return rgb >> 16 - 8 * c & 0xFF;
  }
}
