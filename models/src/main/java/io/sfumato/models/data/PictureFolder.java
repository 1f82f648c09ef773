// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * A folder of image files that are read each time a picture is asked for, in their own size; {@link
 * ImageFolder} keeps squares in memory instead. Classes, order and captions are those of {@link
 * ImageFolder}.
 */
public final class PictureFolder implements Pictures {
  private final FolderIndex index;
  private final List<Optional<String>> captions;
  private final AtomicReferenceArray<@Nullable Size> sizes;

  private PictureFolder(FolderIndex index, List<Optional<String>> captions) {
    this.index = index;
    this.captions = List.copyOf(captions);
    this.sizes = new AtomicReferenceArray<>(index.entries().size());
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

  @Override
  public int size() {
    return index.entries().size();
  }

  @Override
  public int channels() {
    return 3;
  }

  @Override
  public Picture picture(int i) {
    return ImageFiles.read(file(i), picture -> picture);
  }

  @Override
  public Size sizeOf(int i) {
    Size known = sizes.get(i);
    if (known == null) {
      known = ImageFiles.sizeOf(file(i));
      sizes.set(i, known);
    }
    return known;
  }

  @Override
  public String contentHash(int i) {
    try {
      return HexFormat.of().formatHex(DatasetSupport.sha256().digest(Files.readAllBytes(file(i))));
    } catch (IOException | OutOfMemoryError e) {
      throw DatasetException.of(file(i), "cannot be read: " + e.getMessage(), e);
    }
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
  public String name(int i) {
    return file(i).toString();
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
