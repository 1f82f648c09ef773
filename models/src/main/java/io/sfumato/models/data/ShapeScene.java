// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What one picture of the {@link ShapesWorld} shows.
 *
 * @param shape the shape
 * @param colour its colour
 * @param size its size
 * @param position where it is
 * @param background the colour behind it
 */
public record ShapeScene(
    Shape shape, Colour colour, Size size, Position position, Background background) {
  private static final Pattern CAPTION =
      Pattern.compile("a (\\w+) (\\w+) (\\w+) ((?:at|on|in) the [a-z ]+?) on a (\\w+) background");

  /** Checks that all are there and that the colours differ. */
  public ShapeScene {
    Objects.requireNonNull(shape, "shape");
    Objects.requireNonNull(size, "size");
    Objects.requireNonNull(position, "position");
    if (!colour.backgrounds().contains(background)) {
      throw new IllegalArgumentException(
          "a "
              + word(colour)
              + " shape needs a background of another hue and brightness, one of "
              + colour.backgrounds()
              + "; got "
              + background);
    }
  }

  /** The shapes. */
  public enum Shape {
    /** A disc. */
    CIRCLE,
    /** A square, upright. */
    SQUARE,
    /** A triangle, point up. */
    TRIANGLE,
    /** A star with five points. */
    STAR,
    /** A heart. */
    HEART,
    /** A circle with a hole. */
    RING,
    /** A plus sign. */
    CROSS,
    /** A rhombus standing on a corner. */
    DIAMOND,
    /** A crescent, open to the right. */
    MOON,
    /** An arrow pointing right. */
    ARROW;

    /**
     * {@return whether a point lies in this shape, drawn with radius 1 around the origin}
     *
     * @param u to the right of the centre, in radii
     * @param v down from the centre, in radii
     */
    public boolean contains(double u, double v) {
      return ShapesRaster.inside(this, u, v);
    }
  }

  /** The colours of shapes, with their 24-bit sRGB values. */
  public enum Colour {
    /** Red. */
    RED(0xE53131, 0),
    /** Orange. */
    ORANGE(0xFF8A1F, 30),
    /** Yellow. */
    YELLOW(0xFFD92E, 50),
    /** Green. */
    GREEN(0x2FAE4E, 135),
    /** Cyan. */
    CYAN(0x29C5D8, 185),
    /** Blue. */
    BLUE(0x2F6BE8, 220),
    /** Purple. */
    PURPLE(0x9040D0, 275),
    /** Pink. */
    PINK(0xFF7DB8, 330);

    private final int rgb;
    private final int hue;
    private final List<Background> backgrounds;

    Colour(int rgb, int hue) {
      this.rgb = rgb;
      this.hue = hue;
      this.backgrounds =
          Arrays.stream(Background.values()).filter(b -> b.contrasts(rgb, hue)).toList();
    }

    /** {@return the colour as {@code 0xRRGGBB}} */
    public int rgb() {
      return rgb;
    }

    /** {@return the hue in degrees} */
    int hue() {
      return hue;
    }

    /** {@return the backgrounds that this colour stands out from} */
    public List<Background> backgrounds() {
      return backgrounds;
    }
  }

  /** The sizes; the radius is a part of the picture's width. */
  public enum Size {
    /** Radius 0.16. */
    SMALL(0.16),
    /** Radius 0.22. */
    MEDIUM(0.22),
    /** Radius 0.29. */
    LARGE(0.29);

    private final double radius;

    Size(double radius) {
      this.radius = radius;
    }

    /** {@return the radius as a part of the picture's width} */
    public double radius() {
      return radius;
    }
  }

  /** The positions, a grid of three by three. */
  public enum Position {
    /** Top left. */
    TOP_LEFT("at the top left", -1, -1),
    /** Top. */
    TOP("at the top", 0, -1),
    /** Top right. */
    TOP_RIGHT("at the top right", 1, -1),
    /** Left. */
    LEFT("on the left", -1, 0),
    /** Center. */
    CENTER("in the center", 0, 0),
    /** Right. */
    RIGHT("on the right", 1, 0),
    /** Bottom left. */
    BOTTOM_LEFT("at the bottom left", -1, 1),
    /** Bottom. */
    BOTTOM("at the bottom", 0, 1),
    /** Bottom right. */
    BOTTOM_RIGHT("at the bottom right", 1, 1);

    private final String phrase;
    private final int dx;
    private final int dy;

    Position(String phrase, int dx, int dy) {
      this.phrase = phrase;
      this.dx = dx;
      this.dy = dy;
    }

    /** {@return the words of the caption} */
    public String phrase() {
      return phrase;
    }

    /** {@return -1 for the left column, 0 for the middle, 1 for the right} */
    public int dx() {
      return dx;
    }

    /** {@return -1 for the top row, 0 for the middle, 1 for the bottom} */
    public int dy() {
      return dy;
    }
  }

  /** The backgrounds, with their 24-bit sRGB values. */
  public enum Background {
    /** White. */
    WHITE(0xF7F7F4, -1),
    /** Black. */
    BLACK(0x17181C, -1),
    /** Gray. */
    GRAY(0xCDD1D6, -1),
    /** Blue, deep. */
    BLUE(0x1B3A86, 222),
    /** Green, deep. */
    GREEN(0x14532D, 144),
    /** Purple, deep. */
    PURPLE(0x43206E, 267),
    /** Yellow, pale. */
    YELLOW(0xFCE9A4, 47),
    /** Pink, pale. */
    PINK(0xFAD3E4, 334);

    private static final int MIN_LUMA_DIFFERENCE = 60;
    private static final int MIN_HUE_DIFFERENCE = 40;

    private final int rgb;
    private final int hue;

    Background(int rgb, int hue) {
      this.rgb = rgb;
      this.hue = hue;
    }

    /** {@return the colour as {@code 0xRRGGBB}} */
    public int rgb() {
      return rgb;
    }

    /** {@return the hue in degrees, or -1 for none} */
    int hue() {
      return hue;
    }

    /** Whether a colour differs from this enough in brightness and, if this has one, in hue. */
    private boolean contrasts(int otherRgb, int otherHue) {
      int around = Math.abs(hue - otherHue);
      boolean sameHue = hue >= 0 && Math.min(around, 360 - around) < MIN_HUE_DIFFERENCE;
      return !sameHue && Math.abs(luma(rgb) - luma(otherRgb)) >= MIN_LUMA_DIFFERENCE;
    }

    /** ITU-R BT.601 luma, 0 to 255. */
    private static int luma(int rgb) {
      return (299 * (rgb >> 16 & 0xFF) + 587 * (rgb >> 8 & 0xFF) + 114 * (rgb & 0xFF)) / 1000;
    }
  }

  /** {@return the caption: {@code "a small red star at the top left on a blue background"}} */
  public String caption() {
    return "a "
        + word(size)
        + " "
        + word(colour)
        + " "
        + word(shape)
        + " "
        + position.phrase()
        + " on a "
        + word(background)
        + " background";
  }

  /**
   * Reads a caption back.
   *
   * @param caption the text
   * @return what it describes
   * @throws IllegalArgumentException if the text is not a caption of this world
   */
  public static ShapeScene parse(String caption) {
    Matcher m = CAPTION.matcher(caption);
    if (!m.matches()) {
      throw new IllegalArgumentException(
          "expected \"a <size> <colour> <shape> <position> on a <background> background\"; got \""
              + caption
              + "\"");
    }
    return new ShapeScene(
        find(Shape.values(), m.group(3)),
        find(Colour.values(), m.group(2)),
        find(Size.values(), m.group(1)),
        Arrays.stream(Position.values())
            .filter(p -> p.phrase().equals(m.group(4)))
            .findFirst()
            .orElseThrow(() -> unknown(Position.values(), m.group(4))),
        find(Background.values(), m.group(5)));
  }

  /** {@return an attribute's word in captions and class names} */
  static String word(Enum<?> attribute) {
    return attribute.name().toLowerCase(Locale.ROOT);
  }

  private static <E extends Enum<E>> E find(E[] values, String word) {
    return Arrays.stream(values)
        .filter(v -> word(v).equals(word))
        .findFirst()
        .orElseThrow(() -> unknown(values, word));
  }

  private static IllegalArgumentException unknown(Object[] values, String word) {
    return new IllegalArgumentException(
        "expected one of " + Arrays.toString(values) + "; got \"" + word + "\"");
  }
}
