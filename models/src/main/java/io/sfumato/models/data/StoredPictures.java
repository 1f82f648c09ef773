// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.nio.file.Path;
import java.util.HexFormat;
import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** Encoded pictures that are read each time one is asked for, in their own size. */
abstract class StoredPictures implements Pictures {
  private final AtomicReferenceArray<@Nullable Size> sizes;

  StoredPictures(int count) {
    this.sizes = new AtomicReferenceArray<>(count);
  }

  /** {@return what messages call a picture} */
  abstract Path path(int index);

  /** {@return the bytes of a picture as it is stored} */
  abstract byte[] content(int index);

  /** {@return the size of a picture as its header has it} */
  abstract Size measured(int index);

  @Override
  public final int size() {
    return sizes.length();
  }

  @Override
  public final int channels() {
    return 3;
  }

  @Override
  public final Picture picture(int index) {
    return read(index, picture -> picture);
  }

  @Override
  public final <T> T read(int index, Function<Picture, T> use) {
    return ImageFiles.read(path(index), content(index), use);
  }

  @Override
  public final Size sizeOf(int index) {
    Size known = sizes.get(index);
    if (known == null) {
      known = measured(index);
      sizes.set(index, known);
    }
    return known;
  }

  @Override
  public final String contentHash(int index) {
    return HexFormat.of().formatHex(DatasetSupport.sha256().digest(content(index)));
  }

  @Override
  public final String name(int index) {
    return path(index).toString();
  }
}
