// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.awt.image.BufferedImage;
import java.nio.file.Path;
import java.util.List;

/**
 * Writes images as one PNG, in rows and columns on a light ground, enlarged by a whole factor
 * (nearest neighbour), with optional labels. The same input gives the same pixels on every machine.
 */
public final class ImageGrid {
  /** Margin around and between images, in pixels. */
  public static final int MARGIN = 6;

  private static final int GROUND = 0xF4F4F2;
  private static final int INK = 0x303238;
  private static final int LEADING = 2;
  private static final int LINE = BitmapFont.HEIGHT + LEADING;
  private static final int MAX_LABEL_LINES = 4;
  private static final int MAX_ROW_LABEL = 160;
  private static final long MAX_PIXELS = 200_000_000;

  private static final Options DEFAULTS = new Options(0, 1, List.of(), List.of());

  private ImageGrid() {}

  /**
   * How to lay a grid out.
   *
   * @param columns images per row; 0: the square root of their number, rounded up
   * @param scale side of the square drawn for each pixel, 1 to 64
   * @param rowLabels texts left of the rows, from the top; none, or fewer than rows, is fine
   * @param columnLabels texts above the columns, from the left, broken into lines to fit
   */
  public record Options(int columns, int scale, List<String> rowLabels, List<String> columnLabels) {
    /** Checks and copies. */
    public Options {
      if (columns < 0) {
        throw new IllegalArgumentException("columns must be 0 (choose) or more; got " + columns);
      }
      if (scale < 1 || scale > 64) {
        throw new IllegalArgumentException("scale must be 1 to 64; got " + scale);
      }
      rowLabels = List.copyOf(rowLabels);
      columnLabels = List.copyOf(columnLabels);
    }

    /**
     * {@return these options with another number of columns}
     *
     * @param newColumns images per row, or 0
     */
    public Options columns(int newColumns) {
      return new Options(newColumns, scale, rowLabels, columnLabels);
    }

    /**
     * {@return these options with another factor of enlargement}
     *
     * @param newScale the factor
     */
    public Options scale(int newScale) {
      return new Options(columns, newScale, rowLabels, columnLabels);
    }

    /**
     * {@return these options with texts left of the rows}
     *
     * @param newRowLabels the texts
     */
    public Options rowLabels(List<String> newRowLabels) {
      return new Options(columns, scale, newRowLabels, columnLabels);
    }

    /**
     * {@return these options with texts above the columns}
     *
     * @param newColumnLabels the texts
     */
    public Options columnLabels(List<String> newColumnLabels) {
      return new Options(columns, scale, rowLabels, newColumnLabels);
    }
  }

  /** {@return the default options: about a square, not enlarged, no labels} */
  public static Options options() {
    return DEFAULTS;
  }

  /**
   * Writes a grid, atomically. Without labels, pixel (x, y) of the image in row r and column c is
   * drawn from {@code MARGIN + c * (width * scale + MARGIN) + x * scale} to the right, and likewise
   * down; column labels move everything down, row labels to the right.
   *
   * @param file the PNG file to write or replace
   * @param pixels {@code [N, C, H, W]}, N at least 1
   * @param channels C: 1 (grey) or 3 (RGB)
   * @param height H
   * @param width W
   * @param options the layout
   * @throws IllegalArgumentException if the array's length is no multiple of {@code C * H * W}, the
   *     labels are more than the rows or columns, or the grid is too large
   * @throws java.io.UncheckedIOException if the file cannot be written
   */
  public static void write(
      Path file, byte[] pixels, int channels, int height, int width, Options options) {
    PngFiles.write(file, draw(pixels, channels, height, width, options));
  }

  /**
   * Writes the first images of a data set, atomically.
   *
   * @param file the PNG file to write or replace
   * @param dataset the images
   * @param count how many
   * @param options the layout
   * @throws IndexOutOfBoundsException if the set has fewer images
   * @throws java.io.UncheckedIOException if the file cannot be written
   */
  public static void write(Path file, ImageDataset dataset, int count, Options options) {
    write(
        file,
        dataset.pixels(0, count),
        dataset.channels(),
        dataset.height(),
        dataset.width(),
        options);
  }

  private static BufferedImage draw(
      byte[] pixels, int channels, int height, int width, Options options) {
    if (channels != 1 && channels != 3 || height < 1 || width < 1) {
      throw new IllegalArgumentException(
          "images must be [C, H, W] with C = 1 or 3 and positive H and W; got ["
              + channels
              + ", "
              + height
              + ", "
              + width
              + "]");
    }
    long each = (long) channels * height * width;
    if (pixels.length == 0 || pixels.length % each != 0) {
      throw new IllegalArgumentException(
          "pixels must hold a multiple of " + each + " bytes, at least one; got " + pixels.length);
    }
    int count = (int) (pixels.length / each);
    int columns = options.columns() > 0 ? options.columns() : (int) Math.ceil(Math.sqrt(count));
    int rows = (count + columns - 1) / columns;
    checkLabels("row", options.rowLabels(), rows);
    checkLabels("column", options.columnLabels(), columns);
    int scale = options.scale();
    long stepX = (long) width * scale + MARGIN;
    long stepY = (long) height * scale + MARGIN;
    int left = rowLabelWidth(options.rowLabels());
    int top = columnLabelHeight(options.columnLabels(), (int) (stepX - MARGIN));
    long fullWidth = left + MARGIN + columns * stepX;
    long fullHeight = top + MARGIN + rows * stepY;
    if (fullWidth * fullHeight > MAX_PIXELS) {
      throw new IllegalArgumentException(
          "a grid may have at most "
              + MAX_PIXELS
              + " pixels; got "
              + fullWidth
              + " x "
              + fullHeight
              + " (draw fewer images or a smaller scale)");
    }
    BufferedImage image =
        new BufferedImage((int) fullWidth, (int) fullHeight, BufferedImage.TYPE_INT_RGB);
    fill(image, 0, 0, image.getWidth(), image.getHeight(), GROUND);
    for (int i = 0; i < count; i++) {
      int x = left + MARGIN + (int) (i % columns * stepX);
      int y = top + MARGIN + (int) (i / columns * stepY);
      drawImage(image, x, y, pixels, (int) (i * each), channels, height, width, scale);
    }
    for (int c = 0; c < options.columnLabels().size(); c++) {
      List<String> lines =
          BitmapFont.wrap(options.columnLabels().get(c), (int) (stepX - MARGIN), MAX_LABEL_LINES);
      // The last line sits just above the images.
      int y = top + MARGIN - LINE * lines.size();
      for (String line : lines) {
        int x = left + MARGIN + (int) (c * stepX + (stepX - MARGIN - BitmapFont.width(line)) / 2);
        BitmapFont.draw(image, line, x, y, INK);
        y += LINE;
      }
    }
    for (int r = 0; r < options.rowLabels().size(); r++) {
      List<String> lines =
          BitmapFont.wrap(options.rowLabels().get(r), MAX_ROW_LABEL, MAX_LABEL_LINES);
      long middle = top + MARGIN + r * stepY + (stepY - MARGIN) / 2;
      int y = (int) (middle - (LINE * lines.size() - LEADING) / 2);
      for (String line : lines) {
        BitmapFont.draw(image, line, left - BitmapFont.width(line), y, INK);
        y += LINE;
      }
    }
    return image;
  }

  private static void drawImage(
      BufferedImage image,
      int left,
      int top,
      byte[] pixels,
      int base,
      int channels,
      int height,
      int width,
      int scale) {
    for (int y = 0; y < height; y++) {
      for (int x = 0; x < width; x++) {
        int rgb = ImageFiles.rgb(pixels, base, channels, height * width, y * width + x);
        fill(image, left + x * scale, top + y * scale, scale, scale, rgb);
      }
    }
  }

  private static void fill(BufferedImage image, int left, int top, int width, int height, int rgb) {
    for (int y = top; y < top + height; y++) {
      for (int x = left; x < left + width; x++) {
        image.setRGB(x, y, rgb);
      }
    }
  }

  private static void checkLabels(String what, List<String> labels, int places) {
    if (labels.size() > places) {
      throw new IllegalArgumentException(
          "at most "
              + places
              + " "
              + what
              + " labels for as many "
              + what
              + "s; got "
              + labels.size());
    }
  }

  private static int rowLabelWidth(List<String> labels) {
    int widest = 0;
    for (String label : labels) {
      for (String line : BitmapFont.wrap(label, MAX_ROW_LABEL, MAX_LABEL_LINES)) {
        widest = Math.max(widest, BitmapFont.width(line));
      }
    }
    return widest == 0 ? 0 : widest + MARGIN;
  }

  private static int columnLabelHeight(List<String> labels, int width) {
    int most = 0;
    for (String label : labels) {
      most = Math.max(most, BitmapFont.wrap(label, width, MAX_LABEL_LINES).size());
    }
    return most * LINE;
  }
}
