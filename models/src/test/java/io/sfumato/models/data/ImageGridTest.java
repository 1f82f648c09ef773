// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ImageGridTest {
  private static final int M = ImageGrid.MARGIN;

  @TempDir Path folder;

  @Test
  void pixelsAreWhereTheyBelong() throws IOException {
    byte[] pixels = new byte[3 * 3 * 2 * 2];
    for (int i = 0; i < pixels.length; i++) {
      pixels[i] = (byte) (i * 7);
    }
    BufferedImage image = write(pixels, 3, 2, 2, ImageGrid.options().columns(2).scale(3));
    assertEquals(M + 2 * (6 + M), image.getWidth());
    assertEquals(M + 2 * (6 + M), image.getHeight());
    for (int n = 0; n < 3; n++) {
      for (int i = 0; i < 4; i++) {
        int x = M + n % 2 * (6 + M) + i % 2 * 3;
        int y = M + n / 2 * (6 + M) + i / 2 * 3;
        int expected = 0;
        for (int c = 0; c < 3; c++) {
          expected = expected << 8 | (pixels[(n * 3 + c) * 4 + i] & 0xFF);
        }
        for (int k = 0; k < 9; k++) {
          assertEquals(expected, image.getRGB(x + k % 3, y + k / 3) & 0xFFFFFF);
        }
      }
    }
    int ground = image.getRGB(0, 0) & 0xFFFFFF;
    assertTrue((ground & 0xFF) > 220);
    assertEquals(ground, image.getRGB(M + 6 + M, M + 6 + M) & 0xFFFFFF, "the empty place");
  }

  @Test
  void greyAndDefaultColumns() throws IOException {
    BufferedImage image = write(new byte[] {0, 50, 100, 127, -1}, 1, 1, 1, ImageGrid.options());
    assertEquals(M + 3 * (1 + M), image.getWidth());
    assertEquals(M + 2 * (1 + M), image.getHeight());
    assertEquals(0x323232, image.getRGB(M + 1 + M, M) & 0xFFFFFF);
  }

  @Test
  void labelsMakeRoomAndLeaveInk() throws IOException {
    byte[] pixels = new byte[4 * 40 * 40];
    ImageGrid.Options options = ImageGrid.options().columns(2);
    BufferedImage bare = write(pixels, 1, 40, 40, options);
    BufferedImage labelled =
        write(
            pixels,
            1,
            40,
            40,
            options.rowLabels(List.of("step 1", "2")).columnLabels(List.of("a long label", "b")));
    int left = BitmapFont.width("step 1") + M;
    int top = labelled.getHeight() - bare.getHeight();
    assertEquals(bare.getWidth() + left, labelled.getWidth());
    assertTrue(top > 10 && top % 10 == 0, "lines: " + top);
    assertEquals(0, labelled.getRGB(left + M, top + M) & 0xFFFFFF);
    assertTrue(hasInk(labelled, 0, top + M, left, 40), "row label");
    assertTrue(hasInk(labelled, left + M, 0, 40, top), "column label");
    assertTrue(hasInk(labelled, left + 2 * M + 40, 0, 40, top), "second column label");
  }

  @Test
  void fontHasEveryCharacter() {
    for (char c = '!'; c <= '~'; c++) {
      BufferedImage image = new BufferedImage(5, 8, BufferedImage.TYPE_INT_RGB);
      BitmapFont.draw(image, String.valueOf(c), 0, 0, 0xFFFFFF);
      boolean drawn = hasColour(image, 0, 0, 5, 8, 0xFFFFFF);
      assertTrue(drawn, "glyph of " + c);
      for (char d = '!'; d < c; d++) {
        BufferedImage other = new BufferedImage(5, 8, BufferedImage.TYPE_INT_RGB);
        BitmapFont.draw(other, String.valueOf(d), 0, 0, 0xFFFFFF);
        int[] a = image.getRGB(0, 0, 5, 8, null, 0, 5);
        int[] b = other.getRGB(0, 0, 5, 8, null, 0, 5);
        assertTrue(!Arrays.equals(a, b), c + " looks like " + d);
      }
    }
  }

  @Test
  void wrapsText() {
    assertEquals(List.of("a red", "star"), BitmapFont.wrap("a red star", 6 * 6 - 1, 4));
    assertEquals(List.of("abcd", "ef"), BitmapFont.wrap("abcdef", 4 * 6 - 1, 4));
    assertEquals(List.of("ab", "c.."), BitmapFont.wrap("ab cdefgh ij", 3 * 6 - 1, 2));
    assertEquals(List.of(), BitmapFont.wrap("  ", 50, 2));
  }

  @Test
  void replacesAtomicallyAndLeavesNoTemporaryFile() throws IOException {
    Path file = folder.resolve("deep/er/grid.png");
    ImageGrid.write(file, new byte[4], 1, 2, 2, ImageGrid.options());
    byte[] first = Files.readAllBytes(file);
    ImageGrid.write(file, new byte[8], 1, 2, 2, ImageGrid.options());
    assertNotEquals(first.length, Files.readAllBytes(file).length);
    ImageGrid.write(file, new byte[4], 1, 2, 2, ImageGrid.options());
    assertArrayEquals(first, Files.readAllBytes(file));
    try (Stream<Path> files = Files.list(file.getParent())) {
      assertEquals(List.of(file), files.toList());
    }
  }

  @Test
  void aFolderCannotBeReplaced() {
    assertThrows(
        UncheckedIOException.class,
        () -> ImageGrid.write(folder, new byte[1], 1, 1, 1, ImageGrid.options()));
  }

  @Test
  void refusesWhatDoesNotFit() {
    ImageGrid.Options options = ImageGrid.options();
    assertThrows(IllegalArgumentException.class, () -> write(new byte[5], 1, 2, 2, options));
    assertThrows(IllegalArgumentException.class, () -> write(new byte[0], 1, 2, 2, options));
    assertThrows(IllegalArgumentException.class, () -> write(new byte[8], 2, 2, 2, options));
    assertThrows(IllegalArgumentException.class, () -> options.scale(0));
    assertThrows(
        IllegalArgumentException.class,
        () -> write(new byte[4], 1, 2, 2, options.rowLabels(List.of("a", "b"))));
    assertThrows(
        IllegalArgumentException.class,
        () -> write(new byte[1 << 20], 1, 1024, 1024, options.scale(64)));
  }

  @Test
  void writesAndReadsPng() {
    byte[] pixels = new byte[3 * 5 * 5];
    for (int i = 0; i < pixels.length; i++) {
      pixels[i] = (byte) (i * 3);
    }
    Path file = folder.resolve("one.png");
    ImageFiles.writePng(file, pixels, 3, 5, 5);
    assertArrayEquals(pixels, ImageFiles.readSquare(file, 5));
    assertThrows(IllegalArgumentException.class, () -> ImageFiles.writePng(file, pixels, 1, 5, 5));
  }

  private BufferedImage write(
      byte[] pixels, int channels, int height, int width, ImageGrid.Options options)
      throws IOException {
    Path file = folder.resolve("grid.png");
    ImageGrid.write(file, pixels, channels, height, width, options);
    return ImageIO.read(file.toFile());
  }

  private static boolean hasInk(BufferedImage image, int left, int top, int width, int height) {
    return hasColour(image, left, top, width, height, 0x303238);
  }

  private static boolean hasColour(
      BufferedImage image, int left, int top, int width, int height, int rgb) {
    for (int i = 0; i < width * height; i++) {
      if ((image.getRGB(left + i % width, top + i / width) & 0xFFFFFF) == rgb) {
        return true;
      }
    }
    return false;
  }
}
