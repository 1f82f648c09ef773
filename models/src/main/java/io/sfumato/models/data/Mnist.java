// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * MNIST and the data sets in its shape (Fashion-MNIST, KMNIST): 28 x 28 grey images and labels in
 * IDX files named {@code train-images-idx3-ubyte}, {@code train-labels-idx1-ubyte}, {@code t10k-…};
 * also spelled with {@code .idx3-ubyte}, each plain or with {@code .gz}.
 */
public final class Mnist {
  private static final Logger LOG = System.getLogger(Mnist.class.getName());

  /** The ten digits, the classes of MNIST. */
  public static final List<String> DIGITS =
      List.of("0", "1", "2", "3", "4", "5", "6", "7", "8", "9");

  /** The classes of Fashion-MNIST; its files have the same names, so they must be asked for. */
  public static final List<String> FASHION =
      List.of(
          "t-shirt",
          "trouser",
          "pullover",
          "dress",
          "coat",
          "sandal",
          "shirt",
          "sneaker",
          "bag",
          "ankle boot");

  private static final Options DEFAULTS = new Options(Optional.empty(), DIGITS);

  private Mnist() {}

  /**
   * What to read.
   *
   * @param split the part; empty: the training part, or the test part if only that is there
   * @param classNames the names of the classes
   */
  public record Options(Optional<Split> split, List<String> classNames) {
    /** Checks and copies. */
    public Options {
      classNames = List.copyOf(classNames);
      if (classNames.isEmpty() || classNames.size() > 256) {
        throw new IllegalArgumentException(
            "classNames must be 1 to 256 names; got " + classNames.size());
      }
    }

    /**
     * {@return these options with the given part}
     *
     * @param newSplit the part
     */
    public Options split(Split newSplit) {
      return new Options(Optional.of(newSplit), classNames);
    }

    /**
     * {@return these options with other class names, for example {@link Mnist#FASHION}}
     *
     * @param newNames the names
     */
    public Options classNames(List<String> newNames) {
      return new Options(split, newNames);
    }
  }

  /** {@return the default options: the training part if there is one, digits as class names} */
  public static Options options() {
    return DEFAULTS;
  }

  /**
   * Reads the training part of a folder, or the test part (with a log line) if only that is there.
   *
   * @param folder the folder
   * @return the data set
   * @throws DatasetException if the files are missing or not what they should be
   */
  public static InMemoryImageDataset open(Path folder) {
    return open(folder, options());
  }

  /**
   * Reads one part of a folder.
   *
   * @param folder the folder
   * @param options the options
   * @return the data set
   * @throws DatasetException if the files are missing or not what they should be
   */
  public static InMemoryImageDataset open(Path folder, Options options) {
    Split split = options.split().orElseGet(() -> defaultSplit(folder));
    Path images = require(folder, split, "images", 3);
    Path labels = require(folder, split, "labels", 1);
    IdxReader.Images read = IdxReader.images(images);
    int[] classes = IdxReader.labels(labels);
    if (classes.length != read.count()) {
      throw DatasetException.at(
          labels,
          4,
          read.count() + " labels, one for each image of " + images,
          "" + classes.length);
    }
    int names = options.classNames().size();
    for (int i = 0; i < classes.length; i++) {
      if (classes[i] >= names) {
        throw DatasetException.at(
            labels,
            IdxReader.headerLength(1) + i,
            "a label from 0 to " + (names - 1),
            "" + classes[i]);
      }
    }
    return InMemoryImageDataset.of(
        read.pixels(), 1, read.height(), read.width(), classes, options.classNames());
  }

  /** Whether a folder holds image files of either part. */
  static boolean isAt(Path folder) {
    return find(folder, Split.TRAIN, "images", 3).isPresent()
        || find(folder, Split.TEST, "images", 3).isPresent();
  }

  private static Split defaultSplit(Path folder) {
    if (find(folder, Split.TRAIN, "images", 3).isEmpty()
        && find(folder, Split.TEST, "images", 3).isPresent()) {
      LOG.log(
          Level.INFO,
          "{0}: no training part (train-images…), using the test part (t10k-images…)",
          folder);
      return Split.TEST;
    }
    return Split.TRAIN;
  }

  private static Path require(Path folder, Split split, String what, int rank) {
    return find(folder, split, what, rank)
        .orElseThrow(
            () ->
                DatasetException.of(
                    folder,
                    "no MNIST "
                        + what
                        + " of the "
                        + split
                        + " part; looked for "
                        + String.join(", ", spellings(split, what, rank))));
  }

  private static Optional<Path> find(Path folder, Split split, String what, int rank) {
    return spellings(split, what, rank).stream()
        .map(folder::resolve)
        .filter(Files::isRegularFile)
        .findFirst();
  }

  private static List<String> spellings(Split split, String what, int rank) {
    String stem = (split == Split.TRAIN ? "train-" : "t10k-") + what;
    String type = "idx" + rank + "-ubyte";
    return List.of(
        stem + "-" + type, stem + "." + type, stem + "-" + type + ".gz", stem + "." + type + ".gz");
  }
}
