// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.util.List;
import java.util.Optional;
import java.util.function.Function;

/**
 * An indexed set of labelled pictures, of any sizes; {@link ImageDataset} is one whose pictures are
 * all of one size. Implementations are immutable and safe to read from several threads.
 */
public interface Pictures {
  /**
   * Height and width of a picture.
   *
   * @param height in pixels
   * @param width in pixels
   */
  record Size(int height, int width) {
    /** Checks that both make sense for a picture. */
    public Size {
      if (height < 1 || width < 1) {
        throw new IllegalArgumentException(
            "height and width must be positive; got " + height + " and " + width);
      }
    }

    @Override
    public String toString() {
      return width + "x" + height;
    }
  }

  /**
   * Pictures that lie one after the other and are shown equally often.
   *
   * @param first the first one
   * @param count how many
   * @param repeats how often each is shown in an epoch; with a fraction, some are shown once more
   *     than others, which ones changes from epoch to epoch
   */
  record Part(int first, int count, double repeats) {
    /** Checks the values. */
    public Part {
      if (first < 0 || count < 1) {
        throw new IllegalArgumentException(
            "a part must hold pictures; got first " + first + ", count " + count);
      }
      if (!(repeats > 0 && Math.round(repeats * count) >= 1 && repeats * count <= 1 << 30)) {
        throw new IllegalArgumentException(
            "repeats must be positive, and show at least one of "
                + count
                + " pictures in an epoch; got "
                + repeats);
      }
    }

    /** {@return how many showings an epoch has} */
    public int showings() {
      return (int) Math.round(repeats * count);
    }
  }

  /** {@return the number of pictures} */
  int size();

  /** {@return the number of channels: 1 or 3} */
  int channels();

  /**
   * {@return one picture; decoded now, where pictures are not in memory}
   *
   * @param index the picture, from 0 to {@code size() - 1}
   * @throws DatasetException if its file cannot be used; the message names the file
   * @throws IndexOutOfBoundsException if the index is out of range
   */
  Picture picture(int index);

  /**
   * Makes something of one picture. Where pictures are decoded when they are asked for, so little
   * memory is taken by all of them together that a heap can hold it; the result should therefore be
   * smaller than the picture, and {@code use} read no other one.
   *
   * @param index the picture, from 0 to {@code size() - 1}
   * @param use what is made of it
   * @param <T> the kind of result
   * @return what {@code use} returned
   * @throws DatasetException if its file cannot be used; the message names the file
   * @throws IndexOutOfBoundsException if the index is out of range
   */
  default <T> T read(int index, Function<Picture, T> use) {
    return use.apply(picture(index));
  }

  /**
   * {@return the size of one picture, known without decoding it}
   *
   * @param index the picture, from 0 to {@code size() - 1}
   * @throws DatasetException if its file cannot be used
   * @throws IndexOutOfBoundsException if the index is out of range
   */
  Size sizeOf(int index);

  /**
   * {@return what messages call one picture: its file, if it has one}
   *
   * @param index the picture, from 0 to {@code size() - 1}
   */
  default String name(int index) {
    return "picture " + index;
  }

  /**
   * {@return a hash of what one picture shows: of its file, if it has one, else of its pixels}
   *
   * @param index the picture, from 0 to {@code size() - 1}
   * @throws DatasetException if its file cannot be used
   */
  default String contentHash(int index) {
    return DatasetSupport.hash(picture(index));
  }

  /**
   * {@return the class of one picture, an index into {@link #classNames()}}
   *
   * @param index the picture, from 0 to {@code size() - 1}
   * @throws IndexOutOfBoundsException if the index is out of range
   */
  int label(int index);

  /** {@return the names of the classes; their positions are the labels} */
  List<String> classNames();

  /**
   * {@return the caption of one picture, if the set has captions}
   *
   * @param index the picture, from 0 to {@code size() - 1}
   * @throws IndexOutOfBoundsException if the index is out of range
   */
  Optional<String> caption(int index);

  /** {@return the parts of the set, which together hold every picture} */
  default List<Part> parts() {
    return List.of(new Part(0, size(), 1));
  }
}
