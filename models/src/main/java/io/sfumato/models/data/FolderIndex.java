// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;

/**
 * The image files of a folder and their classes; nothing is decoded.
 *
 * @param entries the files, in the order of their paths
 * @param classNames the names of the classes
 */
record FolderIndex(List<Entry> entries, List<String> classNames) {
  private static final Logger LOG = System.getLogger(FolderIndex.class.getName());

  /**
   * An image file.
   *
   * @param file the file
   * @param label its class
   */
  record Entry(Path file, int label) {}

  /** Copies the lists. */
  FolderIndex {
    entries = List.copyOf(entries);
    classNames = List.copyOf(classNames);
  }

  /**
   * Lists a folder: sub-folders that hold images are the classes; without such it is one class.
   *
   * @throws DatasetException if it is no folder, cannot be listed or holds no image
   */
  static FolderIndex of(Path folder) {
    if (!Files.isDirectory(folder)) {
      throw DatasetException.of(folder, Files.exists(folder) ? "not a folder" : "no such folder");
    }
    List<String> classNames = new ArrayList<>();
    List<Entry> entries = find(folder, classNames);
    if (entries.isEmpty()) {
      throw DatasetException.of(
          folder, "no image in it or its sub-folders (png, jpg, jpeg, bmp, gif, webp, tif, tiff)");
    }
    return new FolderIndex(entries, classNames);
  }

  /** Whether a folder holds images, itself or in sub-folders. */
  static boolean containsImages(Path folder) {
    // Links to folders are followed at the top only, so there are no loops.
    try (Stream<Path> files = Files.walk(folder.toRealPath())) {
      return files.anyMatch(FolderIndex::isImage);
    } catch (IOException | UncheckedIOException e) {
      throw DatasetException.of(folder, "cannot be listed: " + e.getMessage(), e);
    }
  }

  private static List<Entry> find(Path folder, List<String> classNames) {
    List<Path> classes =
        list(folder).stream()
            .filter(Files::isDirectory)
            .filter(FolderIndex::containsImages)
            .toList();
    List<Path> loose = list(folder).stream().filter(FolderIndex::isImage).toList();
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

  /** {@return all images below a folder, sorted} */
  private static List<Path> images(Path folder) {
    try (Stream<Path> files = Files.walk(folder.toRealPath())) {
      return files.filter(FolderIndex::isImage).sorted().toList();
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
}
