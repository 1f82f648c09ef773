// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.batch;

import io.sfumato.models.data.DatasetException;
import io.sfumato.models.data.Picture;
import io.sfumato.models.data.Pictures;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/** Grey pictures of given sizes without files; every pixel of picture i is i. */
public final class TestPictures implements Pictures {
  private final List<Size> sizes;
  private final List<Part> parts;
  private final Set<Integer> broken;
  private final boolean gradient;

  /** All shown once. */
  public TestPictures(List<Size> sizes) {
    this(sizes, List.of(new Part(0, sizes.size(), 1)), Set.of(), false);
  }

  private TestPictures(List<Size> sizes, List<Part> parts, Set<Integer> broken, boolean gradient) {
    this.sizes = sizes;
    this.parts = parts;
    this.broken = broken;
    this.gradient = gradient;
  }

  /** The last {@code count} pictures shown more or less often. */
  public TestPictures repeats(int count, double repeats) {
    int first = sizes.size() - count;
    return new TestPictures(
        sizes, List.of(new Part(0, first, 1), new Part(first, count, repeats)), broken, gradient);
  }

  /** With pictures that cannot be read. */
  public TestPictures broken(Integer... indices) {
    return new TestPictures(sizes, parts, Set.copyOf(Arrays.asList(indices)), gradient);
  }

  /** With pixels that differ. */
  public TestPictures gradient() {
    return new TestPictures(sizes, parts, broken, true);
  }

  @Override
  public int size() {
    return sizes.size();
  }

  @Override
  public int channels() {
    return 1;
  }

  @Override
  public Picture picture(int index) {
    Size size = sizeOf(index);
    byte[] pixels = new byte[size.height() * size.width()];
    Arrays.fill(pixels, (byte) index);
    for (int i = 0; gradient && i < pixels.length; i++) {
      pixels[i] = (byte) (i % size.width() * 3 + i / size.width() * 7);
    }
    return new Picture(pixels, 1, size.height(), size.width());
  }

  @Override
  public Size sizeOf(int index) {
    if (broken.contains(index)) {
      throw DatasetException.of(Path.of("file" + index), "is torn");
    }
    return sizes.get(index);
  }

  @Override
  public int label(int index) {
    return index % 2;
  }

  @Override
  public List<String> classNames() {
    return List.of("even", "odd");
  }

  @Override
  public Optional<String> caption(int index) {
    return Optional.of("picture, number " + index);
  }

  @Override
  public List<Part> parts() {
    return parts;
  }
}
