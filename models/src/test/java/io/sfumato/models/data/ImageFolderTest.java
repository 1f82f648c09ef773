// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import io.sfumato.models.LogCapture;
import java.awt.image.BufferedImage;
import java.awt.image.DataBuffer;
import java.awt.image.Raster;
import java.awt.image.WritableRaster;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.zip.CRC32;
import javax.imageio.IIOImage;
import javax.imageio.ImageIO;
import javax.imageio.ImageWriter;
import javax.imageio.spi.IIORegistry;
import javax.imageio.spi.ImageWriterSpi;
import javax.imageio.stream.ImageOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ImageFolderTest {
  private static final int RED = 0xFFFF0000;
  private static final int BLUE = 0xFF0000FF;

  @TempDir Path folder;

  @RegisterExtension final LogCapture log = new LogCapture("io.sfumato.models.data");

  @Test
  void subFoldersAreClasses() throws IOException {
    save("dog/b.png", plain(9, 7, BLUE));
    save("dog/deep/a.png", plain(5, 5, RED));
    save("cat/x.PNG", plain(4, 8, RED));
    Files.createDirectories(folder.resolve("empty"));
    Files.writeString(folder.resolve("readme.txt"), "not an image");
    Files.writeString(folder.resolve("dog/b.txt"), "  a blue dog\n");
    ImageFolder data = ImageFolder.open(folder, 4);
    assertEquals(List.of("cat", "dog"), data.classNames());
    assertEquals(3, data.size());
    assertEquals(3, data.channels());
    assertEquals(0, data.label(0));
    assertEquals(1, data.label(2));
    assertTrue(data.name(1).endsWith("b.png"), data.name(1));
    assertEquals(Optional.of("a blue dog"), data.caption(1));
    assertTrue(data.caption(0).isEmpty());
    assertArrayEquals(rgb(4, 255, 0, 0), data.pixels(0));
    assertArrayEquals(rgb(4, 0, 0, 255), data.pixels(1));
    assertEquals(3, Datasets.open(folder, 4).size());
  }

  @Test
  void flatFolderIsOneClass() throws IOException {
    save("flat/b.png", plain(3, 3, BLUE));
    save("flat/a.png", plain(3, 3, RED));
    save("flat/.hidden.png", plain(3, 3, RED));
    ImageFolder data = ImageFolder.open(folder.resolve("flat"), 2);
    assertEquals(List.of("flat"), data.classNames());
    assertEquals(2, data.size());
    assertArrayEquals(rgb(2, 255, 0, 0), data.pixels(0));
  }

  @ParameterizedTest
  @ValueSource(strings = {"png", "jpg", "bmp", "gif", "tiff"})
  void formats(String format) throws IOException {
    Path file = folder.resolve("picture." + format);
    BufferedImage image = plain(16, 16, 0xFF8040C0);
    assertTrue(ImageIO.write(image, format, file.toFile()));
    byte[] pixels = ImageFiles.readSquare(file, 4);
    int tolerance = format.equals("jpg") ? 6 : 0;
    assertEquals(0x80, pixels[0] & 0xFF, tolerance);
    assertEquals(0x40, pixels[16] & 0xFF, tolerance);
    assertEquals(0xC0, pixels[32] & 0xFF, tolerance);
  }

  @Test
  void webp() throws IOException {
    // The smallest lossy picture, one pixel.
    byte[] bytes =
        Base64.getDecoder().decode("UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA");
    Path file = Files.write(folder.resolve("pixel.webp"), bytes);
    assertEquals(3, ImageFiles.readSquare(file, 1).length);
    assertEquals(1, ImageFolder.open(folder, 8).size());
  }

  @Test
  @Timeout(20)
  void damagedFilesDoNotHangTheDecoder() throws IOException {
    // A lossless WebP picture of one pixel with one byte changed.
    byte[] bytes = Base64.getDecoder().decode("UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQEXKIiP4H8A==");
    Path file = Files.write(folder.resolve("endless.webp"), bytes);
    DatasetException e = assertThrows(DatasetException.class, () -> ImageFiles.readSquare(file, 1));
    assertTrue(e.getMessage().contains("endless.webp"), e.getMessage());
  }

  @Test
  void cmykJpeg() throws IOException {
    // Four inverted channels, as Adobe programs write them: full magenta and yellow make red.
    WritableRaster raster = Raster.createInterleavedRaster(DataBuffer.TYPE_BYTE, 16, 16, 4, null);
    for (int i = 0; i < 256; i++) {
      raster.setPixel(i % 16, i / 16, new int[] {255, 0, 0, 255});
    }
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    ImageWriter writer =
        IIORegistry.getDefaultInstance()
            .getServiceProviders(
                ImageWriterSpi.class,
                spi -> spi.getClass().getName().startsWith("com.sun.imageio.plugins.jpeg"),
                true)
            .next()
            .createWriterInstance();
    try (ImageOutputStream out = ImageIO.createImageOutputStream(bytes)) {
      writer.setOutput(out);
      writer.write(null, new IIOImage(raster, null, null), null);
    } finally {
      writer.dispose();
    }
    byte[] adobe = HexFormat.of().parseHex("ffee000e41646f626500640000000000");
    byte[] jpeg = bytes.toByteArray();
    ByteBuffer marked = ByteBuffer.allocate(jpeg.length + adobe.length);
    marked.put(jpeg, 0, 2).put(adobe).put(jpeg, 2, jpeg.length - 2);
    Path file = Files.write(folder.resolve("cmyk.jpg"), marked.array());
    byte[] pixels = ImageFiles.readSquare(file, 1);
    assertTrue((pixels[0] & 0xFF) > 200, "red");
    assertTrue((pixels[1] & 0xFF) < 60 && (pixels[2] & 0xFF) < 60, "green and blue");
  }

  @Test
  void transparencyIsLaidOverWhite() throws IOException {
    BufferedImage image = new BufferedImage(2, 2, BufferedImage.TYPE_4BYTE_ABGR);
    image.setRGB(0, 0, 0x00000000);
    image.setRGB(1, 0, 0xFFFF0000);
    image.setRGB(0, 1, 0x80000000);
    image.setRGB(1, 1, 0x800000FF);
    save("rgba.png", image);
    byte[] pixels = ImageFiles.readSquare(folder.resolve("rgba.png"), 2);
    byte[] expected = {-1, -1, 127, 127, -1, 0, 127, 127, -1, 0, 127, -1};
    assertArrayEquals(expected, pixels);
  }

  @Test
  void paletteWithTransparency() throws IOException {
    BufferedImage image = new BufferedImage(2, 2, BufferedImage.TYPE_BYTE_INDEXED);
    image.setRGB(0, 0, RED);
    image.setRGB(1, 0, BLUE);
    save("palette.png", image);
    byte[] pixels = ImageFiles.readSquare(folder.resolve("palette.png"), 2);
    assertArrayEquals(new byte[] {-1, 0}, Arrays.copyOf(pixels, 2));
    assertEquals(-1, pixels[9]);
  }

  @Test
  void greyKeepsItsValues() throws IOException {
    for (int type : new int[] {BufferedImage.TYPE_BYTE_GRAY, BufferedImage.TYPE_USHORT_GRAY}) {
      BufferedImage image = new BufferedImage(4, 4, type);
      int value = type == BufferedImage.TYPE_BYTE_GRAY ? 100 : 100 * 257;
      for (int i = 0; i < 16; i++) {
        image.getRaster().setSample(i % 4, i / 4, 0, value);
      }
      save("grey.png", image);
      byte[] pixels = ImageFiles.readSquare(folder.resolve("grey.png"), 2);
      assertArrayEquals(rgb(2, 100, 100, 100), pixels);
    }
  }

  @Test
  void cutsTheCentreOut() throws IOException {
    BufferedImage image = plain(12, 4, BLUE);
    for (int y = 0; y < 4; y++) {
      for (int x = 4; x < 8; x++) {
        image.setRGB(x, y, RED);
      }
    }
    save("wide.png", image);
    assertArrayEquals(rgb(4, 255, 0, 0), ImageFiles.readSquare(folder.resolve("wide.png"), 4));
  }

  @Test
  void resamplingIsAntialiasedLinear() {
    // Worked by hand: scale 2, triangle of half-width 2 around 1 and 3, cut at the border.
    byte[] row = {0, 100, (byte) 200, 40};
    byte[] square = new byte[16];
    for (int y = 0; y < 4; y++) {
      System.arraycopy(row, 0, square, 4 * y, 4);
    }
    byte[] down = new Picture(square, 1, 4, 4).view(new Picture.Region(0, 0, 4, 4), 2, 2).pixels();
    double left = (0.75 * 0 + 0.75 * 100 + 0.25 * 200) / 1.75;
    double right = (0.25 * 100 + 0.75 * 200 + 0.75 * 40) / 1.75;
    assertEquals(Math.round(left), down[0] & 0xFF);
    assertEquals(Math.round(right), down[1] & 0xFF);
    // Up by two: bilinear with half-pixel centres.
    byte[] up =
        new Picture(new byte[] {0, 100, 0, 100}, 1, 2, 2)
            .view(new Picture.Region(0, 0, 2, 2), 4, 4)
            .pixels();
    assertArrayEquals(new byte[] {0, 25, 75, 100}, Arrays.copyOf(up, 4));
    // A checkerboard far below the pixel size becomes grey.
    byte[] board = new byte[64 * 64];
    for (int i = 0; i < board.length; i++) {
      board[i] = (byte) ((i + i / 64) % 2 == 0 ? 0 : 255);
    }
    for (byte b :
        new Picture(board, 1, 64, 64).view(new Picture.Region(0, 0, 64, 64), 4, 4).pixels()) {
      assertEquals(127.5, b & 0xFF, 0.6);
    }
  }

  @Test
  void brokenFilesAreSkippedOrNot() throws IOException {
    for (int i = 0; i < 10; i++) {
      save("data/" + i + ".png", plain(3, 3, RED));
    }
    Path broken = Files.writeString(folder.resolve("data/5b.png"), "no picture");
    assertEquals(10, ImageFolder.open(folder.resolve("data"), 2).size());
    assertEquals(1, log.lines().size());
    String line = log.lines().getFirst();
    assertTrue(line.startsWith("WARNING ") && line.contains("5b.png"), line);
    ImageFolder.Options strict = ImageFolder.options(2).brokenImages(ImageFolder.BrokenImages.FAIL);
    DatasetException e =
        assertThrows(
            DatasetException.class, () -> ImageFolder.open(folder.resolve("data"), strict));
    assertTrue(e.getMessage().contains("5b.png"), e.getMessage());
    Files.copy(broken, folder.resolve("data/6b.png"));
    DatasetException many =
        assertThrows(DatasetException.class, () -> ImageFolder.open(folder.resolve("data"), 2));
    assertTrue(many.getMessage().contains("2 of 12"), many.getMessage());
    assertTrue(many.getMessage().contains("5b.png"), many.getMessage());
  }

  @Test
  void noImageLeft() throws IOException {
    Files.write(folder.resolve("a.png"), new byte[0]);
    DatasetException e = assertThrows(DatasetException.class, () -> ImageFolder.open(folder, 2));
    assertTrue(e.getMessage().contains("an empty file"), e.getMessage());
  }

  @Test
  void emptyMissingAndUnknown() throws IOException {
    DatasetException empty = assertThrows(DatasetException.class, () -> Datasets.open(folder, 8));
    assertTrue(empty.getMessage().contains("holds nothing"), empty.getMessage());
    assertThrows(DatasetException.class, () -> ImageFolder.open(folder, 8));
    Path text = Files.writeString(folder.resolve("note.md"), "hello");
    DatasetException none = assertThrows(DatasetException.class, () -> Datasets.open(folder, 8));
    for (String part : List.of("t10k-images", "data_batch_1.bin", "webp", "note.md")) {
      assertTrue(none.getMessage().contains(part), none.getMessage());
    }
    assertThrows(DatasetException.class, () -> Datasets.open(text, 8));
    assertThrows(DatasetException.class, () -> Datasets.open(folder.resolve("x"), 8));
    assertThrows(IllegalArgumentException.class, () -> Datasets.open(folder, 0));
  }

  @Test
  void linksToNothing() throws IOException {
    Files.createSymbolicLink(folder.resolve("gone.png"), folder.resolve("nowhere"));
    DatasetException e = assertThrows(DatasetException.class, () -> ImageFolder.open(folder, 2));
    assertTrue(e.getMessage().contains("gone.png"), e.getMessage());
  }

  @Test
  void unreadableFile() throws IOException {
    save("secret.png", plain(2, 2, RED));
    Path file = folder.resolve("secret.png");
    assertTrue(file.toFile().setReadable(false));
    assumeFalse(Files.isReadable(file), "this user may read everything");
    DatasetException e = assertThrows(DatasetException.class, () -> ImageFolder.open(folder, 2));
    assertTrue(e.getMessage().contains("secret.png"), e.getMessage());
  }

  @ParameterizedTest
  @ValueSource(strings = {"png", "jpg", "bmp", "gif"})
  void cutAnywhereItThrowsOnly(String format) throws IOException {
    BufferedImage image = new BufferedImage(48, 48, BufferedImage.TYPE_INT_RGB);
    SplitMix64 random = new SplitMix64(5);
    for (int i = 0; i < 48 * 48; i++) {
      image.setRGB(i % 48, i / 48, random.nextInt(1 << 24));
    }
    Path file = folder.resolve("whole." + format);
    assertTrue(ImageIO.write(image, format, file.toFile()));
    byte[] whole = Files.readAllBytes(file);
    ImageFiles.readSquare(file, 8);
    for (int length = 0; length < whole.length * 9L / 10; length += 1 + whole.length / 60) {
      Path cut = Files.write(folder.resolve("cut"), Arrays.copyOf(whole, length));
      DatasetException e =
          assertThrows(
              DatasetException.class,
              () -> ImageFiles.readSquare(cut, 8),
              "cut at " + length + " of " + whole.length);
      assertTrue(e.getMessage().contains("cut"), e.getMessage());
    }
  }

  @Test
  void refusesBombsBeforeDecoding() throws IOException {
    Path huge = Files.write(folder.resolve("huge.png"), pngHeader(60_000, 60_000));
    DatasetException e = assertThrows(DatasetException.class, () -> ImageFiles.readSquare(huge, 8));
    assertTrue(e.getMessage().contains("60000 x 60000"), e.getMessage());
    assertTrue(e.getMessage().contains("100000000 pixels"), e.getMessage());
    Path hollow = Files.write(folder.resolve("hollow.png"), pngHeader(9_000, 9_000));
    DatasetException f =
        assertThrows(DatasetException.class, () -> ImageFiles.readSquare(hollow, 8));
    assertTrue(f.getMessage().contains("cannot hold that many pixels"), f.getMessage());
  }

  @Test
  void theSizeIsFoundBehindALongHeader() throws IOException {
    assertTrue(ImageIO.write(plain(24, 16, RED), "jpg", folder.resolve("short.jpg").toFile()));
    byte[] turned = withExif(Files.readAllBytes(folder.resolve("short.jpg")), 6, true);
    byte[] filling = new byte[65535 + 2];
    filling[0] = (byte) 0xFF;
    filling[1] = (byte) 0xEF; // of no meaning
    filling[2] = (byte) 0xFF;
    filling[3] = (byte) 0xFF;
    ByteBuffer all = ByteBuffer.allocate(turned.length + 5 * filling.length);
    all.put(turned, 0, 2);
    for (int i = 0; i < 5; i++) {
      all.put(filling);
    }
    all.put(turned, 2, turned.length - 2);
    Path file = Files.write(folder.resolve("long.jpg"), all.array());
    assertEquals(new Pictures.Size(24, 16), ImageFiles.sizeOf(file));
    assertEquals(16, (int) ImageFiles.read(file, Picture::width));
    byte[] cut = Arrays.copyOf(all.array(), 300_000);
    Path torn = Files.write(folder.resolve("torn.jpg"), cut);
    assertThrows(DatasetException.class, () -> ImageFiles.sizeOf(torn));
  }

  @Test
  void whatAUserOfAPictureThrowsIsNotBlamedOnTheFile() throws IOException {
    save("a.png", plain(2, 2, RED));
    IllegalStateException mine = new IllegalStateException("mine");
    IllegalStateException e =
        assertThrows(
            IllegalStateException.class,
            () ->
                ImageFiles.read(
                    folder.resolve("a.png"),
                    picture -> {
                      throw mine;
                    }));
    assertSame(mine, e);
  }

  @Test
  void obeysExifOrientation() throws IOException {
    // Stored: left half red, right half blue. 6: turn clockwise, so red comes to the top.
    BufferedImage image = plain(32, 32, RED);
    for (int y = 0; y < 32; y++) {
      for (int x = 16; x < 32; x++) {
        image.setRGB(x, y, BLUE);
      }
    }
    Path file = folder.resolve("stored.jpg");
    assertTrue(ImageIO.write(image, "jpg", file.toFile()));
    byte[] stored = Files.readAllBytes(file);
    String[] redSide = {"left", "right", "right", "left", "top", "top", "bottom", "bottom"};
    for (boolean little : new boolean[] {false, true}) {
      for (int orientation = 1; orientation <= 8; orientation++) {
        Path turned = folder.resolve("turned.jpg");
        Files.write(turned, withExif(stored, orientation, little));
        byte[] p = ImageFiles.readSquare(turned, 4);
        int at =
            switch (redSide[orientation - 1]) {
              case "left" -> 4;
              case "right" -> 7;
              case "top" -> 1;
              default -> 13;
            };
        assertTrue((p[at] & 0xFF) > 200 && (p[15 - at] & 0xFF) < 55, "orientation " + orientation);
      }
    }
  }

  private void save(String name, BufferedImage image) throws IOException {
    Path file = folder.resolve(name);
    Files.createDirectories(file.getParent());
    assertTrue(ImageIO.write(image, "png", file.toFile()));
  }

  private static BufferedImage plain(int width, int height, int argb) {
    BufferedImage image = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
    for (int i = 0; i < width * height; i++) {
      image.setRGB(i % width, i / width, argb);
    }
    return image;
  }

  private static byte[] rgb(int side, int red, int green, int blue) {
    byte[] pixels = new byte[3 * side * side];
    Arrays.fill(pixels, 0, side * side, (byte) red);
    Arrays.fill(pixels, side * side, 2 * side * side, (byte) green);
    Arrays.fill(pixels, 2 * side * side, pixels.length, (byte) blue);
    return pixels;
  }

  /** Signature, IHDR and an empty IDAT of an 8-bit RGB image. */
  private static byte[] pngHeader(int width, int height) {
    ByteBuffer png = ByteBuffer.allocate(8 + 25 + 12);
    png.putLong(0x89504E470D0A1A0AL).putInt(13);
    int start = png.position();
    png.put("IHDR".getBytes(StandardCharsets.US_ASCII)).putInt(width).putInt(height);
    png.put(new byte[] {8, 2, 0, 0, 0});
    CRC32 crc = new CRC32();
    crc.update(png.array(), start, 17);
    png.putInt((int) crc.getValue());
    png.putInt(0).put("IDAT".getBytes(StandardCharsets.US_ASCII)).putInt(0x35AF061E);
    return png.array();
  }

  private static byte[] withExif(byte[] jpeg, int orientation, boolean little) {
    ByteBuffer exif = ByteBuffer.allocate(4 + 6 + 8 + 2 + 12 + 4);
    exif.putShort((short) 0xFFE1).putShort((short) (exif.capacity() - 2));
    exif.put("Exif\0\0".getBytes(StandardCharsets.US_ASCII));
    exif.put((little ? "II" : "MM").getBytes(StandardCharsets.US_ASCII));
    exif.order(little ? ByteOrder.LITTLE_ENDIAN : ByteOrder.BIG_ENDIAN);
    exif.putShort((short) 42).putInt(8).putShort((short) 1);
    exif.putShort((short) 0x0112).putShort((short) 3).putInt(1);
    exif.putShort((short) orientation).putShort((short) 0).putInt(0);
    ByteBuffer result = ByteBuffer.allocate(jpeg.length + exif.capacity());
    return result.put(jpeg, 0, 2).put(exif.array()).put(jpeg, 2, jpeg.length - 2).array();
  }
}
