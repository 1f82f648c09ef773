// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.function.Function;
import java.util.stream.IntStream;

/**
 * A folder of image files, decoded into memory as squares: the largest centred one of each,
 * resampled (antialiased, linear). {@link PictureFolder} reads them when they are needed instead.
 *
 * <p>Classes, order and captions are those of {@link PictureFolder}.
 */
public final class ImageFolder extends PictureSubset implements ImageDataset {
  private static final Logger LOG = System.getLogger(ImageFolder.class.getName());

  /** More than one broken file in so many is an error whatever the options say. */
  private static final int MAX_BROKEN_ONE_IN = 10;

  private final int side;
  private final List<byte[]> pixels;

  /** What to do about a file that cannot be decoded. */
  public enum BrokenImages {
    /** Throw at the first one. */
    FAIL,
    /**
     * Leave it out and log a warning that names it. Throws nevertheless if more than 10 % of the
     * files are broken or none is left.
     */
    SKIP_AND_LOG
  }

  /**
   * How to read a folder.
   *
   * @param size height and width of the images, in pixels
   * @param brokenImages what to do about a file that cannot be decoded
   */
  public record Options(int size, BrokenImages brokenImages) {
    /** Checks the size. */
    public Options {
      DatasetSupport.checkSide("size", size);
      Objects.requireNonNull(brokenImages, "brokenImages");
    }

    /**
     * {@return these options with another answer to broken files}
     *
     * @param newBrokenImages the answer
     */
    public Options brokenImages(BrokenImages newBrokenImages) {
      return new Options(size, newBrokenImages);
    }
  }

  private ImageFolder(int side, Pictures stored, int[] kept, List<byte[]> pixels) {
    super(stored, kept);
    this.side = side;
    this.pixels = List.copyOf(pixels);
  }

  /**
   * {@return options for images of {@code size} x {@code size} pixels; broken files are skipped and
   * logged}
   *
   * @param size height and width of the images, in pixels
   */
  public static Options options(int size) {
    return new Options(size, BrokenImages.SKIP_AND_LOG);
  }

  /**
   * Reads a folder with {@link #options(int)}.
   *
   * @param folder the folder
   * @param size height and width of the images, in pixels
   * @return the data set
   * @throws DatasetException as {@link #open(Path, Options)}
   */
  public static ImageFolder open(Path folder, int size) {
    return open(folder, options(size));
  }

  /**
   * Reads a folder. Files are decoded in parallel; the result does not depend on that.
   *
   * @param folder the folder
   * @param options the options
   * @return the data set
   * @throws DatasetException if it is no folder, holds no image, needs more than half the heap, or
   *     holds more broken files than {@code options} allow
   */
  public static ImageFolder open(Path folder, Options options) {
    return load(folder, PictureFolder.open(folder), options);
  }

  /**
   * Decodes pictures from anywhere: of {@link WebDataset} shards, say. They are decoded in
   * parallel; the result does not depend on that.
   *
   * @param from the file or folder they come from, for messages
   * @param stored the pictures
   * @param options the options
   * @return the data set
   * @throws DatasetException if they need more than half the heap, or more of them are broken than
   *     {@code options} allow
   */
  public static ImageFolder load(Path from, Pictures stored, Options options) {
    checkMemory(from, stored, options.size());
    Object[] results = decode(stored, options);
    int[] kept =
        IntStream.range(0, results.length).filter(i -> results[i] instanceof byte[]).toArray();
    report(
        from,
        Arrays.stream(results)
            .filter(DatasetException.class::isInstance)
            .map(DatasetException.class::cast)
            .toList(),
        results.length);
    return new ImageFolder(
        options.size(),
        stored,
        kept,
        IntStream.of(kept).mapToObj(i -> (byte[]) results[i]).toList());
  }

  @Override
  public int height() {
    return side;
  }

  @Override
  public int width() {
    return side;
  }

  @Override
  public void copyPixels(int index, byte[] target, int offset) {
    System.arraycopy(pixels.get(index), 0, target, offset, bytesPerImage());
  }

  @Override
  public Picture picture(int index) {
    return new Picture(pixels(index), channels(), side, side);
  }

  @Override
  public <T> T read(int index, Function<Picture, T> use) {
    return use.apply(picture(index));
  }

  @Override
  public Size sizeOf(int index) {
    return new Size(side, side);
  }

  @Override
  public String contentHash(int index) {
    return DatasetSupport.hash(picture(index)); // of the square
  }

  private static void checkMemory(Path folder, Pictures stored, int size) {
    int count = stored.size();
    long needed = (long) stored.channels() * size * size * count;
    long heap = Runtime.getRuntime().maxMemory();
    if (needed > heap / 2) {
      throw DatasetException.of(
          folder,
          count
              + " images of "
              + size
              + " x "
              + size
              + " need "
              + DatasetSupport.bytes(needed)
              + ", more than half of a heap of "
              + DatasetSupport.bytes(heap)
              + "; use a smaller size or give the JVM more with -Xmx");
    }
  }

  /** Decodes every picture into its bytes, or the exception that says why not. */
  private static Object[] decode(Pictures stored, Options options) {
    int side = options.size();
    return IntStream.range(0, stored.size())
        .parallel()
        .mapToObj(
            i -> {
              try {
                return (Object)
                    stored.read(
                        i,
                        whole ->
                            whole
                                .view(
                                    Picture.Region.centre(whole.height(), whole.width(), 1, 1),
                                    side,
                                    side)
                                .pixels());
              } catch (DatasetException e) {
                if (options.brokenImages() == BrokenImages.FAIL) {
                  throw e;
                }
                return e;
              }
            })
        .toArray();
  }

  private static void report(Path folder, List<DatasetException> broken, int total) {
    if (broken.isEmpty()) {
      return;
    }
    if ((long) broken.size() * MAX_BROKEN_ONE_IN > total) {
      throw DatasetException.of(
          folder,
          broken.size()
              + " of "
              + total
              + " images cannot be used (at most 10 % may be skipped), the first: "
              + broken.getFirst().getMessage(),
          broken.getFirst());
    }
    for (DatasetException e : broken) {
      LOG.log(Level.WARNING, "skipped a broken image: {0}", e.getMessage());
    }
  }
}
