// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.io.IOException;
import java.io.InputStream;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import java.util.stream.Stream;

/**
 * CIFAR-10, binary version: files {@code data_batch_1.bin} to {@code data_batch_5.bin} (training)
 * and {@code test_batch.bin}, each a sequence of records of 3073 bytes: a label (0 to 9), then 32 x
 * 32 pixels as a red, a green and a blue plane. The files may lie in the folder itself or in its
 * sub-folder {@code cifar-10-batches-bin}.
 *
 * <p>Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
 */
public final class Cifar10 {
  private static final Logger LOG = System.getLogger(Cifar10.class.getName());
  private static final int SIDE = 32;
  private static final int IMAGE = 3 * SIDE * SIDE;
  private static final int RECORD = 1 + IMAGE;

  /** The ten classes. */
  public static final List<String> CLASS_NAMES =
      List.of(
          "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck");

  private Cifar10() {}

  /**
   * Reads the training part, or the test part (with a log line) if only that is there.
   *
   * @param folder the folder
   * @return the data set
   * @throws DatasetException if the files are missing or not what they should be
   */
  public static InMemoryImageDataset open(Path folder) {
    Path root = root(folder);
    if (files(root, Split.TRAIN).isEmpty() && !files(root, Split.TEST).isEmpty()) {
      LOG.log(
          Level.INFO,
          "{0}: no training part (data_batch_*.bin), using the test part (test_batch.bin)",
          folder);
      return open(folder, Split.TEST);
    }
    return open(folder, Split.TRAIN);
  }

  /**
   * Reads one part. Training batches that are missing are left out, with a log line.
   *
   * @param folder the folder
   * @param split the part
   * @return the data set
   * @throws DatasetException if there is none, or a file is not what it should be
   */
  public static InMemoryImageDataset open(Path folder, Split split) {
    Path root = root(folder);
    List<Path> files = files(root, split);
    if (files.isEmpty()) {
      throw DatasetException.of(
          folder,
          "no CIFAR-10 binary batch of the "
              + split
              + " part; looked for "
              + String.join(", ", names(split)));
    }
    if (files.size() < names(split).size()) {
      LOG.log(
          Level.INFO,
          "{0}: {1} of {2} CIFAR-10 batches found",
          root,
          files.size(),
          names(split).size());
    }
    long[] counts = files.stream().mapToLong(Cifar10::records).toArray();
    long total = LongStream.of(counts).sum();
    if (total * IMAGE > DatasetSupport.MAX_ARRAY) {
      throw DatasetException.of(
          root, "expected at most " + DatasetSupport.MAX_ARRAY / IMAGE + " images; got " + total);
    }
    byte[] pixels = new byte[(int) total * IMAGE];
    int[] labels = new int[(int) total];
    int first = 0;
    for (int i = 0; i < counts.length; i++) {
      read(files.get(i), pixels, labels, first, (int) counts[i]);
      first += (int) counts[i];
    }
    return InMemoryImageDataset.of(pixels, 3, SIDE, SIDE, labels, CLASS_NAMES);
  }

  /** Whether a folder, or its usual sub-folder, holds batches of either part. */
  static boolean isAt(Path folder) {
    Path root = root(folder);
    return !files(root, Split.TRAIN).isEmpty() || !files(root, Split.TEST).isEmpty();
  }

  private static Path root(Path folder) {
    Path inner = folder.resolve("cifar-10-batches-bin");
    return Files.isDirectory(inner) ? inner : folder;
  }

  private static List<String> names(Split split) {
    Stream<String> names =
        split == Split.TEST
            ? Stream.of("test_batch.bin")
            : IntStream.rangeClosed(1, 5).mapToObj(i -> "data_batch_" + i + ".bin");
    return names.toList();
  }

  private static List<Path> files(Path root, Split split) {
    return names(split).stream().map(root::resolve).filter(Files::isRegularFile).toList();
  }

  private static long records(Path file) {
    try {
      long length = Files.size(file);
      if (length == 0 || length % RECORD != 0) {
        throw DatasetException.at(
            file,
            length / RECORD * RECORD,
            "whole records of " + RECORD + " bytes",
            "a file of " + length + " bytes");
      }
      return length / RECORD;
    } catch (IOException e) {
      throw DatasetException.of(file, "cannot be read: " + e.getMessage(), e);
    }
  }

  /** Reads {@code count} records of a file to position {@code first} on. */
  private static void read(Path file, byte[] pixels, int[] labels, int first, int count) {
    try (InputStream in = Files.newInputStream(file)) {
      byte[] record = new byte[RECORD];
      for (int i = 0; i < count; i++) {
        int got = in.readNBytes(record, 0, RECORD);
        if (got < RECORD) {
          throw DatasetException.at(
              file, (long) i * RECORD + got, "a record of " + RECORD + " bytes", "the end");
        }
        if (record[0] < 0 || record[0] > 9) {
          throw DatasetException.at(
              file, (long) i * RECORD, "a label from 0 to 9", "" + (record[0] & 0xFF));
        }
        labels[first + i] = record[0];
        System.arraycopy(record, 1, pixels, (first + i) * IMAGE, IMAGE);
      }
    } catch (IOException e) {
      throw DatasetException.of(file, "cannot be read: " + e.getMessage(), e);
    }
  }
}
