// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * A folder of image files, decoded into memory as RGB squares ({@link ImageFiles#readSquare}).
 *
 * <p>Sub-folders that hold images (at any depth) are the classes, in the order of their names; a
 * folder without such sub-folders is one class, named as itself. Files are taken in the order of
 * their paths; hidden files and other extensions are left alone. Captions come from {@code
 * metadata.jsonl} or from a text file beside an image ({@link Captions}).
 */
public final class ImageFolder implements ImageDataset {
  private static final Logger LOG = System.getLogger(ImageFolder.class.getName());

  /** More than one broken file in so many is an error whatever the options say. */
  private static final int MAX_BROKEN_ONE_IN = 10;

  private final int side;
  private final List<Loaded> pictures;
  private final List<String> classNames;

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

  private record Loaded(Path file, int label, byte[] pixels, @Nullable String caption) {}

  private ImageFolder(int side, List<Loaded> pictures, List<String> classNames) {
    this.side = side;
    this.pictures = List.copyOf(pictures);
    this.classNames = List.copyOf(classNames);
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
    FolderIndex index = FolderIndex.of(folder);
    List<FolderIndex.Entry> entries = index.entries();
    checkMemory(folder, entries.size(), options.size());
    Captions captions = Captions.find(folder);
    Object[] results = decode(entries, captions, options);
    List<Loaded> pictures = new ArrayList<>();
    List<DatasetException> broken = new ArrayList<>();
    for (Object result : results) {
      if (result instanceof Loaded picture) {
        pictures.add(picture);
      } else {
        broken.add((DatasetException) result);
      }
    }
    report(folder, broken, entries.size());
    return new ImageFolder(options.size(), pictures, index.classNames());
  }

  /** Whether a folder holds images, itself or in sub-folders. */
  static boolean isAt(Path folder) {
    return FolderIndex.containsImages(folder);
  }

  @Override
  public int size() {
    return pictures.size();
  }

  @Override
  public int channels() {
    return 3;
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
  public String name(int index) {
    return file(index).toString();
  }

  @Override
  public void copyPixels(int index, byte[] target, int offset) {
    byte[] pixels = pictures.get(index).pixels();
    System.arraycopy(pixels, 0, target, offset, pixels.length);
  }

  @Override
  public int label(int index) {
    return pictures.get(index).label();
  }

  @Override
  public List<String> classNames() {
    return classNames;
  }

  @Override
  public Optional<String> caption(int index) {
    return Optional.ofNullable(pictures.get(index).caption());
  }

  /**
   * {@return the file an image came from}
   *
   * @param index the image, from 0 to {@code size() - 1}
   * @throws IndexOutOfBoundsException if the index is out of range
   */
  public Path file(int index) {
    return pictures.get(index).file();
  }

  private static void checkMemory(Path folder, int count, int size) {
    long needed = 3L * size * size * count;
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

  /** Decodes every file into a {@link Loaded} or the exception that says why not. */
  private static Object[] decode(
      List<FolderIndex.Entry> entries, Captions captions, Options options) {
    return IntStream.range(0, entries.size())
        .parallel()
        .mapToObj(
            i -> {
              FolderIndex.Entry entry = entries.get(i);
              try {
                return (Object)
                    new Loaded(
                        entry.file(),
                        entry.label(),
                        ImageFiles.readSquare(entry.file(), options.size()),
                        captions.of(entry.file()));
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
