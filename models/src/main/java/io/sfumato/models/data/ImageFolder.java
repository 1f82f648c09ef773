// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A folder of image files, decoded into memory as RGB squares ({@link ImageFiles#readSquare}).
 *
 * <p>Sub-folders that hold images (at any depth) are the classes, in the order of their names; a
 * folder without such sub-folders is one class, named as itself. Files are taken in the order of
 * their paths; hidden files and other extensions are left alone. A text file beside an image with
 * the same name but for the extension ({@code cat1.png}, {@code cat1.txt}; UTF-8, up to 64 KiB) is
 * its caption.
 */
public final class ImageFolder implements ImageDataset {
  private static final Logger LOG = System.getLogger(ImageFolder.class.getName());
  private static final int MAX_CAPTION = 1 << 16;

  /** More than one broken file in so many is an error whatever the options say. */
  private static final int MAX_BROKEN_ONE_IN = 10;

  private final int side;
  private final List<Picture> pictures;
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

  private record Entry(Path file, int label) {}

  private record Picture(Path file, int label, byte[] pixels, @Nullable String caption) {}

  private ImageFolder(int side, List<Picture> pictures, List<String> classNames) {
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
    if (!Files.isDirectory(folder)) {
      throw DatasetException.of(folder, Files.exists(folder) ? "not a folder" : "no such folder");
    }
    List<String> classNames = new ArrayList<>();
    List<Entry> entries = find(folder, classNames);
    if (entries.isEmpty()) {
      throw DatasetException.of(
          folder, "no image in it or its sub-folders (png, jpg, jpeg, bmp, gif, webp, tif, tiff)");
    }
    checkMemory(folder, entries.size(), options.size());
    Object[] results = decode(entries, options);
    List<Picture> pictures = new ArrayList<>();
    List<DatasetException> broken = new ArrayList<>();
    for (Object result : results) {
      if (result instanceof Picture picture) {
        pictures.add(picture);
      } else {
        broken.add((DatasetException) result);
      }
    }
    report(folder, broken, entries.size());
    return new ImageFolder(options.size(), pictures, classNames);
  }

  /** Whether a folder holds images, itself or in sub-folders. */
  static boolean isAt(Path folder) {
    return containsImages(folder);
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

  private static List<Entry> find(Path folder, List<String> classNames) {
    List<Path> classes =
        list(folder).stream()
            .filter(Files::isDirectory)
            .filter(ImageFolder::containsImages)
            .toList();
    List<Path> loose = list(folder).stream().filter(ImageFolder::isImage).toList();
    List<Entry> entries = new ArrayList<>();
    if (classes.isEmpty()) {
      classNames.add(String.valueOf(folder.toAbsolutePath().normalize().getFileName()));
      loose.forEach(file -> entries.add(new Entry(file, 0)));
      return entries;
    }
    if (!loose.isEmpty()) {
      LOG.log(
          Level.WARNING,
          "{0}: {1} images lie beside the class folders and are left out, first {2}; "
              + "move them into a folder of their own to use them",
          folder,
          loose.size(),
          loose.getFirst().getFileName());
    }
    for (Path child : classes) {
      int label = classNames.size();
      classNames.add(String.valueOf(child.getFileName()));
      images(child).forEach(file -> entries.add(new Entry(file, label)));
    }
    return entries;
  }

  private static boolean containsImages(Path folder) {
    // Links to folders are followed at the top only, so there are no loops.
    try (Stream<Path> files = Files.walk(folder.toRealPath())) {
      return files.anyMatch(ImageFolder::isImage);
    } catch (IOException | UncheckedIOException e) {
      throw DatasetException.of(folder, "cannot be listed: " + e.getMessage(), e);
    }
  }

  /** {@return all images below a folder, sorted} */
  private static List<Path> images(Path folder) {
    try (Stream<Path> files = Files.walk(folder.toRealPath())) {
      return files.filter(ImageFolder::isImage).sorted().toList();
    } catch (IOException | UncheckedIOException e) {
      throw DatasetException.of(folder, "cannot be listed: " + e.getMessage(), e);
    }
  }

  private static List<Path> list(Path folder) {
    try (Stream<Path> children = Files.list(folder)) {
      return children
          .filter(p -> !p.getFileName().toString().startsWith("."))
          .sorted(Comparator.comparing(p -> p.getFileName().toString()))
          .toList();
    } catch (IOException | UncheckedIOException e) {
      throw DatasetException.of(folder, "cannot be listed: " + e.getMessage(), e);
    }
  }

  private static boolean isImage(Path path) {
    return ImageFiles.hasImageName(path)
        && !path.getFileName().toString().startsWith(".")
        && !Files.isDirectory(path);
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

  /** Decodes every file into a {@link Picture} or the exception that says why not. */
  private static Object[] decode(List<Entry> entries, Options options) {
    return IntStream.range(0, entries.size())
        .parallel()
        .mapToObj(
            i -> {
              Entry entry = entries.get(i);
              try {
                return (Object)
                    new Picture(
                        entry.file(),
                        entry.label(),
                        ImageFiles.readSquare(entry.file(), options.size()),
                        readCaption(entry.file()));
              } catch (DatasetException e) {
                if (options.brokenImages() == BrokenImages.FAIL) {
                  throw e;
                }
                return e;
              }
            })
        .toArray();
  }

  private static @Nullable String readCaption(Path image) {
    String name = image.getFileName().toString();
    Path file = image.resolveSibling(name.substring(0, name.lastIndexOf('.')) + ".txt");
    if (!Files.isRegularFile(file)) {
      return null;
    }
    try (InputStream in = Files.newInputStream(file)) {
      byte[] text = in.readNBytes(MAX_CAPTION + 1);
      if (text.length > MAX_CAPTION) {
        throw DatasetException.at(file, MAX_CAPTION, "the end of the caption", "more text");
      }
      String caption = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(text)).toString();
      return caption.isBlank() ? null : caption.strip();
    } catch (CharacterCodingException e) {
      throw DatasetException.of(file, "a caption must be UTF-8 text", e);
    } catch (IOException e) {
      throw DatasetException.of(file, "cannot be read: " + e.getMessage(), e);
    }
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
