// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * A folder of image files that are read each time a picture is asked for, in their own size; {@link
 * ImageFolder} keeps squares in memory instead.
 *
 * <p>Sub-folders that hold images (at any depth) are the classes, in the order of their names; a
 * folder without such sub-folders is one class, named as itself. Files are taken in the order of
 * their paths; hidden files and other extensions are left alone. Captions come from {@code
 * metadata.jsonl} or {@code metadata.csv}, or from a text file beside an image.
 */
public final class PictureFolder extends StoredPictures {
  private final FolderIndex index;
  private final List<Optional<String>> captions;

  private PictureFolder(FolderIndex index, List<Optional<String>> captions) {
    super(index.entries().size());
    this.index = index;
    this.captions = List.copyOf(captions);
  }

  /**
   * Lists a folder and reads its captions; no picture is looked at.
   *
   * @param folder the folder
   * @return the pictures
   * @throws DatasetException if it is no folder, holds no image, or a caption cannot be used
   */
  public static PictureFolder open(Path folder) {
    FolderIndex index = FolderIndex.of(folder);
    Captions captions = Captions.find(folder);
    return new PictureFolder(
        index,
        IntStream.range(0, index.entries().size())
            .parallel()
            .mapToObj(i -> Optional.ofNullable(captions.of(index.entries().get(i).file())))
            .toList());
  }

  /**
   * {@return the file of one picture}
   *
   * @param i the picture, from 0 to {@code size() - 1}
   * @throws IndexOutOfBoundsException if the index is out of range
   */
  public Path file(int i) {
    return index.entries().get(i).file();
  }

  @Override
  Path path(int i) {
    return file(i);
  }

  @Override
  byte[] content(int i) {
    return ImageFiles.contentOf(file(i));
  }

  @Override
  Size measured(int i) {
    return ImageFiles.sizeOf(file(i));
  }

  @Override
  public int label(int i) {
    return index.entries().get(i).label();
  }

  @Override
  public List<String> classNames() {
    return index.classNames();
  }

  @Override
  public Optional<String> caption(int i) {
    return captions.get(i);
  }
}
