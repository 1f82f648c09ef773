// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.awt.image.BufferedImage;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/**
 * A font of 5 x 8 pixels for printable ASCII, so that text looks the same on every machine. The
 * resource {@code font5x8.txt} shows 16 glyphs side by side, from the space on, in bands of eight
 * rows. Other characters are drawn as a box.
 */
final class BitmapFont {
  /** Height of a line without leading. */
  static final int HEIGHT = 8;

  private static final int WIDTH = 5;
  private static final int ADVANCE = 6;
  private static final int PER_BAND = 16;
  private static final char FIRST = ' ';
  private static final char LAST = '~';

  /** {@code [glyph][row]}, the leftmost pixel in bit 4. */
  private static final byte[][] GLYPHS = load();

  private static final byte[] BOX = {0x1F, 0x11, 0x11, 0x11, 0x11, 0x11, 0x1F, 0};

  private BitmapFont() {}

  /** {@return the width of a text in pixels} */
  static int width(String text) {
    return text.isEmpty() ? 0 : text.length() * ADVANCE - 1;
  }

  /** {@return how many characters fit in a width} */
  static int fitting(int width) {
    return (width + 1) / ADVANCE;
  }

  /** Draws a text with its top left corner at (left, top); what lies outside is left out. */
  static void draw(BufferedImage image, String text, int left, int top, int rgb) {
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      byte[] glyph = c >= FIRST && c <= LAST ? GLYPHS[c - FIRST] : BOX;
      for (int row = 0; row < HEIGHT; row++) {
        for (int column = 0; column < WIDTH; column++) {
          int x = left + i * ADVANCE + column;
          int y = top + row;
          boolean within = x >= 0 && y >= 0 && x < image.getWidth() && y < image.getHeight();
          if (within && (glyph[row] >> WIDTH - 1 - column & 1) == 1) {
            image.setRGB(x, y, rgb);
          }
        }
      }
    }
  }

  /**
   * Breaks a text at spaces into lines of at most {@code width} pixels; words that are longer are
   * cut, and a last line that is cut ends in "..".
   */
  static List<String> wrap(String text, int width, int maxLines) {
    int limit = Math.max(1, fitting(width));
    List<String> lines = new ArrayList<>();
    String rest = text.strip();
    while (!rest.isEmpty() && lines.size() < maxLines) {
      if (rest.length() <= limit) {
        lines.add(rest);
        return lines;
      }
      int space = rest.lastIndexOf(' ', limit);
      int cut = space > 0 ? space : limit;
      if (lines.size() == maxLines - 1) {
        String dots = "..".substring(0, Math.min(2, limit));
        lines.add(rest.substring(0, limit - dots.length()) + dots);
        return lines;
      }
      lines.add(rest.substring(0, cut).stripTrailing());
      rest = rest.substring(cut).stripLeading();
    }
    return lines;
  }

  private static byte[][] load() {
    byte[][] glyphs = new byte[LAST - FIRST + 1][HEIGHT];
    try (InputStream in =
            Objects.requireNonNull(
                BitmapFont.class.getResourceAsStream("font5x8.txt"), "font5x8.txt is missing");
        BufferedReader reader =
            new BufferedReader(new InputStreamReader(in, StandardCharsets.US_ASCII))) {
      List<String> lines = reader.lines().filter(line -> !line.isEmpty()).toList();
      for (int glyph = 0; glyph < glyphs.length; glyph++) {
        for (int row = 0; row < HEIGHT; row++) {
          String line = lines.get(glyph / PER_BAND * HEIGHT + row);
          int start = glyph % PER_BAND * ADVANCE;
          for (char c : line.substring(start, start + WIDTH).toCharArray()) {
            glyphs[glyph][row] = (byte) (glyphs[glyph][row] << 1 | (c == '#' ? 1 : 0));
          }
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return glyphs;
  }
}
