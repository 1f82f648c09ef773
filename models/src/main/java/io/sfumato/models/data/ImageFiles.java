// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.awt.color.ColorSpace;
import java.awt.image.BufferedImage;
import java.awt.image.ColorModel;
import java.awt.image.ComponentColorModel;
import java.awt.image.DataBuffer;
import java.awt.image.Raster;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.Locale;
import java.util.Set;
import java.util.function.Function;
import java.util.function.Supplier;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.stream.ImageInputStream;

/**
 * Reads single images as RGB bytes and writes PNG files.
 *
 * <p>Formats are those of ImageIO: PNG, JPEG, BMP, GIF (first frame), TIFF (first page), and WebP
 * with the TwelveMonkeys plug-in on the class path; a file is known by its content, not its name.
 * Grey becomes three equal channels, 16-bit values keep their high part, transparency is laid over
 * white, CMYK is converted. Embedded RGB profiles are ignored, as Pillow does. The Exif orientation
 * of JPEG files is obeyed, that of other formats is not.
 *
 * <p>The size is read from the header and checked before anything is decoded: more than {@link
 * #MAX_PIXELS}, more than half the heap, or (above 16 million pixels) more than 2048 pixels per
 * byte of the file is refused. So a small hostile file cannot ask for much memory.
 */
public final class ImageFiles {
  /** The largest image that is decoded, in pixels. */
  public static final long MAX_PIXELS = 100_000_000;

  /** Up to here a header is believed without a look at the length of the file. */
  private static final long FREE_PIXELS = 1 << 24;

  private static final long PIXELS_PER_BYTE = 2048;

  /** A decoded image, and its red, green and blue bytes. */
  private static final long BYTES_PER_PIXEL = 4 + 3;

  private static final long MAX_FILE_BYTES = 1 << 30;

  private static final Set<String> EXTENSIONS =
      Set.of("png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff");

  /** So much of a file is read to learn the size of its picture, if that is enough. */
  static final int HEAD_BYTES = 1 << 18;

  private static final DecodeBudget MEMORY = new DecodeBudget(Runtime.getRuntime().maxMemory() / 2);

  private ImageFiles() {}

  /**
   * Whether a file's name ends like an image's: png, jpg, jpeg, bmp, gif, webp, tif, tiff.
   *
   * @param file the file
   * @return whether it does
   */
  public static boolean hasImageName(Path file) {
    String name = String.valueOf(file.getFileName());
    int dot = name.lastIndexOf('.');
    return dot > 0 && EXTENSIONS.contains(name.substring(dot + 1).toLowerCase(Locale.ROOT));
  }

  /**
   * Reads an image, cuts its central square out, and resamples that (antialiased, linear).
   *
   * @param file the image
   * @param size height and width of the result, in pixels
   * @return {@code [3, size, size]}, red, green, blue
   * @throws DatasetException if the file cannot be read or decoded, ends too early or is too large
   */
  public static byte[] readSquare(Path file, int size) {
    DatasetSupport.checkSide("size", size);
    return read(
        file,
        whole ->
            whole
                .view(Picture.Region.centre(whole.height(), whole.width(), 1, 1), size, size)
                .pixels());
  }

  /**
   * Reads an image, and makes something of it. Until that is done, the picture counts among those
   * that are decoded at the same time, which may take half of the heap together; so the result
   * should be smaller than the picture, and {@code use} read no other one.
   *
   * @param file the image
   * @param use what is made of the picture, which has 3 channels and stands upright
   * @param <T> the kind of result
   * @return what {@code use} returned
   * @throws DatasetException if the file cannot be read or decoded, ends too early or is too large
   */
  public static <T> T read(Path file, Function<Picture, T> use) {
    return read(file, contentOf(file), use);
  }

  /**
   * The same for an image that is in memory already.
   *
   * @param name what messages call it
   */
  static <T> T read(Path name, byte[] content, Function<Picture, T> use) {
    return open(
        name, content, (in, reader, orientation) -> decode(name, in, reader, orientation, use));
  }

  /**
   * The size of an upright image, from its header alone.
   *
   * @param file the image
   * @return height and width
   * @throws DatasetException if the file cannot be read or is too large to be decoded
   */
  public static Pictures.Size sizeOf(Path file) {
    requireFile(file);
    try (InputStream in = Files.newInputStream(file)) {
      return sizeOf(file, in.readNBytes(HEAD_BYTES), Files.size(file), () -> contentOf(file));
    } catch (IOException e) {
      throw DatasetException.of(file, "cannot be read: " + e, e);
    }
  }

  /**
   * The same for an image of which the beginning is in memory.
   *
   * @param name what messages call it
   * @param head the first bytes
   * @param length how many bytes there are
   * @param whole all bytes, if those are not enough
   */
  static Pictures.Size sizeOf(Path name, byte[] head, long length, Supplier<byte[]> whole) {
    if (head.length < length) {
      try {
        return sizeOf(name, head, length);
      } catch (DatasetException e) {
        return sizeOf(name, whole.get(), length); // its header is long, or it is not valid
      }
    }
    return sizeOf(name, head, length);
  }

  private static Pictures.Size sizeOf(Path name, byte[] content, long length) {
    return open(
        name,
        content,
        (in, reader, orientation) -> {
          reader.setInput(in, true, true);
          int width = reader.getWidth(0);
          int height = reader.getHeight(0);
          memoryOf(name, width, height, length);
          return ExifOrientation.turnsSides(orientation)
              ? new Pictures.Size(width, height)
              : new Pictures.Size(height, width);
        });
  }

  /** What is done with an image that a reader was found for. */
  private interface Use<T> {
    T apply(ImageInputStream in, ImageReader reader, int orientation) throws IOException;
  }

  /** Keeps what a user of a picture throws apart from what decoders do. */
  private static final class UseException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final RuntimeException thrown;

    UseException(RuntimeException thrown) {
      super(thrown);
      this.thrown = thrown;
    }
  }

  private static void requireFile(Path file) {
    if (!Files.isRegularFile(file)) {
      throw DatasetException.of(
          file, Files.exists(file) ? "not a regular file" : "no such file (image)");
    }
  }

  /** {@return the bytes of an image's file} */
  static byte[] contentOf(Path file) {
    requireFile(file);
    try {
      requireLength(file, Files.size(file));
      return Files.readAllBytes(file);
    } catch (IOException e) {
      throw DatasetException.of(file, "cannot be read: " + e, e);
    } catch (OutOfMemoryError e) {
      throw noRoom(file, e);
    }
  }

  /** Throws if an image's file is too long to be read. */
  static void requireLength(Path name, long length) {
    long limit = Math.min(MAX_FILE_BYTES, Runtime.getRuntime().maxMemory() / 4);
    if (length > limit) {
      throw DatasetException.at(
          name, limit, "an image file of at most " + limit + " bytes", length + " bytes");
    }
  }

  private static <T> T open(Path name, byte[] content, Use<T> use) {
    try (ImageInputStream in = new BoundedImageInput(content)) {
      int orientation = ExifOrientation.of(in);
      Iterator<ImageReader> readers = ImageIO.getImageReaders(in);
      if (!readers.hasNext()) {
        throw DatasetException.of(
            name,
            "expected an image (PNG, JPEG, BMP, GIF, TIFF, or WebP with the plug-in); got "
                + (content.length == 0 ? "an empty file" : "content of no known image format"));
      }
      ImageReader reader = readers.next();
      try {
        return use.apply(in, reader, orientation);
      } finally {
        reader.dispose();
      }
    } catch (DatasetException e) {
      throw e;
    } catch (UseException e) {
      throw e.thrown;
    } catch (IOException | RuntimeException e) {
      // Decoders answer corrupt data with any kind of runtime exception.
      throw DatasetException.of(name, "cannot be decoded: " + e, e);
    } catch (OutOfMemoryError e) {
      throw noRoom(name, e);
    }
  }

  static DatasetException noRoom(Path name, OutOfMemoryError e) {
    return DatasetException.of(
        name,
        "cannot be decoded within a heap of "
            + DatasetSupport.bytes(Runtime.getRuntime().maxMemory())
            + "; give the JVM more with -Xmx",
        e);
  }

  /**
   * Writes a PNG file, atomically.
   *
   * @param file the file to write or replace
   * @param pixels {@code [C, H, W]}
   * @param channels C: 1 (grey) or 3 (RGB)
   * @param height H
   * @param width W
   * @throws IllegalArgumentException if the array has another length
   * @throws java.io.UncheckedIOException if the file cannot be written
   */
  public static void writePng(Path file, byte[] pixels, int channels, int height, int width) {
    if (channels != 1 && channels != 3 || pixels.length != channels * height * width) {
      throw new IllegalArgumentException(
          "expected [C, H, W] bytes, C = 1 or 3; got "
              + pixels.length
              + " bytes for ["
              + channels
              + ", "
              + height
              + ", "
              + width
              + "]");
    }
    BufferedImage image = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
    int plane = height * width;
    for (int i = 0; i < plane; i++) {
      image.setRGB(i % width, i / width, rgb(pixels, 0, channels, plane, i));
    }
    PngFiles.write(file, image);
  }

  /** {@return pixel {@code i} of a {@code [C, plane]} picture at {@code base} as 0xRRGGBB} */
  static int rgb(byte[] pixels, int base, int channels, int plane, int i) {
    int red = pixels[base + i] & 0xFF;
    if (channels == 1) {
      return red << 16 | red << 8 | red;
    }
    return red << 16 | (pixels[base + plane + i] & 0xFF) << 8 | pixels[base + 2 * plane + i] & 0xFF;
  }

  private static <T> T decode(
      Path name, ImageInputStream in, ImageReader reader, int orientation, Function<Picture, T> use)
      throws IOException {
    reader.setInput(in, true, true);
    int width = reader.getWidth(0);
    int height = reader.getHeight(0);
    long memory = memoryOf(name, width, height, in.length());
    String[] cutShort = new String[1];
    reader.addIIOReadWarningListener(
        (source, warning) -> {
          // The JPEG decoder fills what is missing with grey and only warns.
          if (warning.toLowerCase(Locale.ROOT).contains("premature end")) {
            cutShort[0] = warning;
          }
        });
    return MEMORY.with(
        memory,
        () -> {
          BufferedImage image = reader.read(0);
          if (cutShort[0] != null) {
            throw DatasetException.of(name, "the image data ends too early: " + cutShort[0]);
          }
          Picture picture = ExifOrientation.apply(orientation, rgb(image));
          try {
            return use.apply(picture);
          } catch (RuntimeException e) {
            throw new UseException(e);
          }
        });
  }

  /** {@return the memory that decoding takes, in bytes; throws if that is too much} */
  private static long memoryOf(Path name, int width, int height, long length) {
    long count = (long) width * height;
    String got = "; the header says " + width + " x " + height;
    if (width < 1 || height < 1) {
      throw DatasetException.of(name, "expected a positive width and height" + got);
    }
    if (count > MAX_PIXELS) {
      throw DatasetException.of(name, "images may have at most " + MAX_PIXELS + " pixels" + got);
    }
    if (count > FREE_PIXELS && length >= 0 && count / PIXELS_PER_BYTE > length) {
      throw DatasetException.of(
          name, "a file of " + length + " bytes cannot hold that many pixels" + got);
    }
    long memory = count * BYTES_PER_PIXEL;
    if (memory > Runtime.getRuntime().maxMemory() / 2) {
      throw DatasetException.of(
          name,
          "the image needs more than half of a heap of "
              + DatasetSupport.bytes(Runtime.getRuntime().maxMemory())
              + "; give the JVM more with -Xmx"
              + got);
    }
    return memory;
  }

  /** The red, green and blue bytes of an image. */
  private static Picture rgb(BufferedImage image) {
    int height = image.getHeight();
    int width = image.getWidth();
    byte[] pixels = new byte[3 * height * width];
    float[] row = new float[3 * width];
    boolean samples = hasPlainSamples(image.getColorModel());
    for (int y = 0; y < height; y++) {
      if (samples) {
        readSamples(image, y, row);
      } else {
        readConverted(image, y, row);
      }
      for (int c = 0; c < 3; c++) {
        int first = (c * height + y) * width;
        for (int x = 0; x < width; x++) {
          pixels[first + x] = (byte) Math.clamp(Math.round(row[3 * x + c]), 0, 255);
        }
      }
    }
    return new Picture(pixels, 3, height, width);
  }

  /**
   * Whether samples can be taken as they are: {@code getRGB} would treat grey as linear light and
   * make it brighter.
   */
  private static boolean hasPlainSamples(ColorModel model) {
    int type = model.getColorSpace().getType();
    return model instanceof ComponentColorModel
        && (type == ColorSpace.TYPE_GRAY || type == ColorSpace.TYPE_RGB)
        && (model.getTransferType() == DataBuffer.TYPE_BYTE
            || model.getTransferType() == DataBuffer.TYPE_USHORT);
  }

  /** Reads a row as {@code [W, 3]}, over white. */
  private static void readSamples(BufferedImage image, int y, float[] row) {
    ColorModel model = image.getColorModel();
    Raster raster = image.getRaster();
    int bands = raster.getNumBands();
    int colours = model.getNumColorComponents();
    boolean alpha = model.hasAlpha() && bands > colours;
    float[] scale = new float[bands];
    for (int b = 0; b < bands; b++) {
      scale[b] = 255f / ((1 << model.getComponentSize(b)) - 1);
    }
    int width = row.length / 3;
    int[] pixels = raster.getPixels(raster.getMinX(), y + raster.getMinY(), width, 1, (int[]) null);
    for (int x = 0; x < width; x++) {
      float opacity = alpha ? pixels[x * bands + colours] * scale[colours] / 255f : 1f;
      float factor = image.isAlphaPremultiplied() ? 1f : opacity;
      for (int c = 0; c < 3; c++) {
        int band = colours == 1 ? 0 : c;
        row[3 * x + c] = pixels[x * bands + band] * scale[band] * factor + 255f * (1f - opacity);
      }
    }
  }

  /** The same for palettes, packed pixels and other colour spaces. */
  private static void readConverted(BufferedImage image, int y, float[] row) {
    int width = row.length / 3;
    int[] pixels = image.getRGB(0, y, width, 1, null, 0, width);
    for (int x = 0; x < width; x++) {
      float opacity = (pixels[x] >>> 24) / 255f;
      for (int c = 0; c < 3; c++) {
        row[3 * x + c] = (pixels[x] >> 16 - 8 * c & 0xFF) * opacity + 255f * (1f - opacity);
      }
    }
  }
}
