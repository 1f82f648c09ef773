// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.io.IOException;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** Opens data sets of any known format. */
public final class Datasets {
  private static final Logger LOG = System.getLogger(Datasets.class.getName());

  private Datasets() {}

  /**
   * Opens whatever a folder holds: MNIST-like IDX files ({@link Mnist}), CIFAR-10 binary batches
   * ({@link Cifar10}), images ({@link ImageFolder}), or shards ({@link WebDataset}); looked for in
   * that order. Images of another size are resampled.
   *
   * @param folder the folder, or a shard
   * @param size height and width of the images, in pixels
   * @return the data set
   * @throws DatasetException if the folder is missing, empty, of no known format, or broken
   */
  public static ImageDataset open(Path folder, int size) {
    DatasetSupport.checkSide("size", size);
    return open(folder, Integer.valueOf(size), size);
  }

  /**
   * As {@link #open(Path, int)}, but data sets with a size of their own keep it.
   *
   * @param folder the folder
   * @param folderSize height and width for images of any size ({@link ImageFolder})
   * @return the data set
   * @throws DatasetException if the folder is missing, empty, of no known format, or broken
   */
  public static ImageDataset openNative(Path folder, int folderSize) {
    DatasetSupport.checkSide("size", folderSize);
    return open(folder, null, folderSize);
  }

  /**
   * Opens whatever a folder holds in its own size: MNIST or CIFAR-10 files in memory, or images
   * that are read when they are needed ({@link PictureFolder}, {@link WebDataset}).
   *
   * @param folder the folder, or a shard
   * @return the pictures
   * @throws DatasetException if the folder is missing, empty, of no known format, or broken
   */
  public static Pictures openPictures(Path folder) {
    requireFolder(folder);
    if (Mnist.isAt(folder)) {
      return Mnist.open(folder);
    }
    if (Cifar10.isAt(folder)) {
      return Cifar10.open(folder);
    }
    return stored(folder);
  }

  private static void requireFolder(Path folder) {
    if (!Files.isDirectory(folder) && !WebDataset.isAt(folder)) {
      throw DatasetException.of(
          folder,
          Files.exists(folder)
              ? "a file, and no shard (.tar); give the folder it is in"
              : "no such folder");
    }
  }

  private static ImageDataset open(Path folder, @Nullable Integer size, int folderSize) {
    requireFolder(folder);
    if (Mnist.isAt(folder)) {
      return size == null ? Mnist.open(folder) : resized(Mnist.open(folder), size);
    }
    if (Cifar10.isAt(folder)) {
      return size == null ? Cifar10.open(folder) : resized(Cifar10.open(folder), size);
    }
    return ImageFolder.load(folder, stored(folder), ImageFolder.options(folderSize));
  }

  /** Images that are read when they are needed. */
  private static Pictures stored(Path place) {
    boolean inFolder = Files.isDirectory(place) && FolderIndex.containsImages(place);
    if (!WebDataset.isAt(place)) {
      if (inFolder) {
        return PictureFolder.open(place);
      }
      throw unknown(place);
    }
    if (inFolder) {
      LOG.log(
          Level.WARNING,
          "{0}: {1} tar archives lie beside the images and are left out; move them into a folder of"
              + " their own to use them",
          place,
          WebDataset.shardsIn(place).size());
      return PictureFolder.open(place);
    }
    return WebDataset.open(place);
  }

  private static DatasetException unknown(Path folder) {
    return DatasetException.of(
        folder,
        "no known data set. Looked for train-images-idx3-ubyte or t10k-images-idx3-ubyte (also"
            + " .idx3-ubyte, .gz), data_batch_1.bin to data_batch_5.bin or test_batch.bin (also in"
            + " cifar-10-batches-bin), images (png, jpg, jpeg, bmp, gif, webp, tif, tiff) in it or"
            + " its sub-folders, and shards (tar). The folder holds "
            + contents(folder));
  }

  /**
   * {@return a data set with its images resampled to {@code size} x {@code size} (antialiased,
   * linear; not keeping proportions), or the data set itself if they have that size}
   *
   * @param source the images
   * @param size height and width of the images, in pixels
   * @throws IllegalArgumentException if the result does not fit in one Java array (2 GiB)
   */
  public static ImageDataset resized(ImageDataset source, int size) {
    DatasetSupport.checkSide("size", size);
    if (source.height() == size && source.width() == size) {
      return source;
    }
    LOG.log(
        Level.INFO,
        "images resampled from {0} x {1} to {2} x {2}",
        source.height(),
        source.width(),
        size);
    int channels = source.channels();
    int each = channels * size * size;
    byte[] pixels = new byte[DatasetSupport.arrayLength(source.size(), each)];
    int[] labels = new int[source.size()];
    List<String> captions = new ArrayList<>();
    boolean captioned = false;
    Picture.Region whole = new Picture.Region(0, 0, source.height(), source.width());
    for (int i = 0; i < labels.length; i++) {
      byte[] image = source.picture(i).view(whole, size, size).pixels();
      System.arraycopy(image, 0, pixels, i * each, each);
      labels[i] = source.label(i);
      captions.add(source.caption(i).orElse(""));
      captioned |= source.caption(i).isPresent();
    }
    return InMemoryImageDataset.of(
        pixels,
        channels,
        size,
        size,
        labels,
        source.classNames(),
        captioned ? captions : List.of());
  }

  private static String contents(Path folder) {
    try (Stream<Path> children = Files.list(folder)) {
      List<String> names = children.limit(6).map(p -> p.getFileName().toString()).sorted().toList();
      if (names.isEmpty()) {
        return "nothing";
      }
      return String.join(", ", names.subList(0, Math.min(5, names.size())))
          + (names.size() > 5 ? ", …" : "");
    } catch (IOException e) {
      return "nothing that can be listed (" + e.getMessage() + ")";
    }
  }
}
