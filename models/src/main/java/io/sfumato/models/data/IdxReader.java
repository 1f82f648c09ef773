// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.io.BufferedInputStream;
import java.io.EOFException;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.zip.GZIPInputStream;
import java.util.zip.ZipException;

/**
 * Reads IDX files, the format of MNIST and Fashion-MNIST: two zero bytes, a type byte (0x08:
 * unsigned bytes), the number of dimensions, the dimensions as big-endian 32-bit integers, and the
 * values in row-major order. Files may be gzip-compressed; that is seen from their first two bytes,
 * not from their names.
 *
 * <p>A header is believed only as far as the file can back it: a plain file must be exactly as long
 * as its header says; a compressed one must not promise more than gzip can expand its length to
 * (1032 : 1), and memory for its values grows with what really comes.
 *
 * <p>Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", section
 * "File formats".
 */
public final class IdxReader {
  private static final int GZIP_EXPANSION = 1032;
  private static final int UNSIGNED_BYTE = 0x08;

  private IdxReader() {}

  /**
   * The images of an IDX file.
   *
   * @param count N
   * @param height H
   * @param width W
   * @param pixels {@code [N, H, W]}
   */
  public record Images(int count, int height, int width, byte[] pixels) {}

  private record Content(int[] dimensions, byte[] values) {}

  /**
   * Reads a file of images (three dimensions: N, H, W).
   *
   * @param file the file
   * @return the images
   * @throws DatasetException if the file cannot be read or is not such a file
   */
  public static Images images(Path file) {
    Content content = read(file, 3, "images");
    int[] d = content.dimensions();
    return new Images(d[0], d[1], d[2], content.values());
  }

  /**
   * Reads a file of labels (one dimension: N).
   *
   * @param file the file
   * @return {@code [N]}, values 0 to 255
   * @throws DatasetException if the file cannot be read or is not such a file
   */
  public static int[] labels(Path file) {
    byte[] values = read(file, 1, "labels").values();
    int[] labels = new int[values.length];
    Arrays.setAll(labels, i -> values[i] & 0xFF);
    return labels;
  }

  /** Byte offset of the first value of a file with {@code rank} dimensions. */
  static long headerLength(int rank) {
    return 4 + 4L * rank;
  }

  /** Counts what has been read, so that errors can name the place. */
  private static final class Counted extends FilterInputStream {
    private long position;

    Counted(InputStream in) {
      super(in);
    }

    @Override
    public int read() throws IOException {
      int value = super.read();
      position += value < 0 ? 0 : 1;
      return value;
    }

    @Override
    public int read(byte[] target, int offset, int length) throws IOException {
      int count = super.read(target, offset, length);
      position += Math.max(0, count);
      return count;
    }
  }

  private static Content read(Path file, int rank, String what) {
    if (!Files.isRegularFile(file)) {
      throw DatasetException.of(
          file, Files.exists(file) ? "not a regular file" : "no such file (IDX " + what + ")");
    }
    try (InputStream raw = new BufferedInputStream(Files.newInputStream(file), 1 << 16)) {
      raw.mark(2);
      boolean compressed = raw.read() == 0x1F && raw.read() == 0x8B;
      raw.reset();
      long length = Files.size(file);
      if (!compressed) {
        return read(file, new Counted(raw), rank, what, length, false);
      }
      Counted expanded = null;
      try {
        expanded = new Counted(new GZIPInputStream(raw, 1 << 16));
        return read(file, expanded, rank, what, length, true);
      } catch (EOFException | ZipException e) {
        throw DatasetException.at(
            file,
            expanded == null ? 0 : expanded.position,
            "gzip data",
            e instanceof EOFException ? "the end of the file" : "corrupt data (" + e + ")");
      }
    } catch (IOException e) {
      throw DatasetException.of(file, "cannot be read: " + e.getMessage(), e);
    }
  }

  private static Content read(
      Path file, InputStream in, int rank, String what, long fileLength, boolean compressed)
      throws IOException {
    int magic = readInt(file, in, 0, "the IDX magic number");
    int wanted = UNSIGNED_BYTE << 8 | rank;
    if (magic != wanted) {
      throw DatasetException.at(
          file,
          0,
          String.format("the magic number 0x%08x (IDX %s, unsigned bytes)", wanted, what),
          String.format("0x%08x", magic));
    }
    int[] dimensions = new int[rank];
    long count = 1;
    for (int i = 0; i < rank; i++) {
      long offset = 4 + 4L * i;
      long d = Integer.toUnsignedLong(readInt(file, in, offset, "dimension " + i));
      // An upper bound per dimension keeps the product below 2^62.
      if (d < 1 || d > Integer.MAX_VALUE || i > 0 && d > 8192) {
        String range = i == 0 ? "1 to " + Integer.MAX_VALUE : "1 to 8192";
        throw DatasetException.at(file, offset, "dimension " + i + " to be " + range, "" + d);
      }
      dimensions[i] = (int) d;
      count *= d;
    }
    long header = headerLength(rank);
    checkPromise(file, dimensions, count, header, fileLength, compressed);
    byte[] values = in.readNBytes((int) count);
    if (values.length < count) {
      throw DatasetException.at(
          file,
          header + values.length,
          count + " values " + Arrays.toString(dimensions),
          "the end of the data after " + values.length);
    }
    if (in.read() != -1) {
      throw DatasetException.at(
          file,
          header + count,
          "the end of the data after " + count + " values " + Arrays.toString(dimensions),
          "more bytes");
    }
    return new Content(dimensions, values);
  }

  private static void checkPromise(
      Path file, int[] dimensions, long count, long header, long fileLength, boolean compressed) {
    String promise = "values " + Arrays.toString(dimensions) + " (" + count + " bytes)";
    if (!compressed && fileLength != header + count) {
      throw DatasetException.at(
          file,
          Math.min(fileLength, header + count),
          "a file of " + (header + count) + " bytes for " + promise,
          fileLength + " bytes");
    }
    if (compressed && count > fileLength * GZIP_EXPANSION) {
      throw DatasetException.at(
          file,
          4,
          "at most " + fileLength * GZIP_EXPANSION + " bytes from " + fileLength + " of gzip",
          promise);
    }
    if (count > DatasetSupport.MAX_ARRAY) {
      throw DatasetException.at(
          file, 4, "at most " + DatasetSupport.MAX_ARRAY + " bytes of values", promise);
    }
    if (count > Runtime.getRuntime().maxMemory() / 2) {
      throw DatasetException.of(
          file,
          promise
              + " does not fit comfortably in a heap of "
              + DatasetSupport.bytes(Runtime.getRuntime().maxMemory())
              + "; give the JVM more with -Xmx");
    }
  }

  private static int readInt(Path file, InputStream in, long offset, String what)
      throws IOException {
    byte[] b = in.readNBytes(4);
    if (b.length < 4) {
      throw DatasetException.at(
          file, offset + b.length, what + " (4 bytes from " + offset + ")", "the end of the data");
    }
    return (b[0] & 0xFF) << 24 | (b[1] & 0xFF) << 16 | (b[2] & 0xFF) << 8 | b[3] & 0xFF;
  }
}
