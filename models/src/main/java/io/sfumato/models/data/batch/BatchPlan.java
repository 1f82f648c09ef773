// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.batch;

import io.sfumato.models.data.Pictures;
import java.util.List;

/** Which pictures make up which batch. */
public interface BatchPlan {
  /**
   * One showing of a picture.
   *
   * @param index the picture
   * @param position a number that no other showing has, of this picture or another
   */
  record Slot(int index, long position) {}

  /**
   * {@return the showings of a batch, in order}
   *
   * @param batch its number, from 0 on
   */
  List<Slot> slots(long batch);

  /**
   * {@return the size that a batch has}
   *
   * @param batch its number, from 0 on
   */
  Pictures.Size size(long batch);

  /**
   * {@return the picture that takes the place of one that cannot be used}
   *
   * @param index the one that cannot be used
   */
  int next(int index);

  /**
   * {@return the size that a picture is shown in}
   *
   * @param index the picture
   */
  Pictures.Size sizeOf(int index);
}
