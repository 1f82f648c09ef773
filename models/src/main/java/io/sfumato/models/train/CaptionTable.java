// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import org.jspecify.annotations.Nullable;

/**
 * Numbers for captions, so that a trainer of classes can be given captions: a number stands for the
 * text that {@link #numberOf} was last given when it returned that number. Of the numbers only the
 * last 65 535 are valid, so the memory of a long run does not grow.
 */
public final class CaptionTable {
  /** The number of the empty caption: what a model is guided away from. */
  public static final int NONE = 0;

  private static final int CAPACITY = 1 << 16;

  private final @Nullable String[] texts = new String[CAPACITY];
  private int last;

  /** An empty table. */
  public CaptionTable() {}

  /**
   * {@return a number for a caption}
   *
   * @param text the caption
   */
  public synchronized int numberOf(String text) {
    if (text.isEmpty()) {
      return NONE;
    }
    last = last % (CAPACITY - 1) + 1;
    texts[last] = text;
    return last;
  }

  /**
   * {@return the caption of a number}
   *
   * @param number what {@link #numberOf} returned, or {@link #NONE}
   * @throws IllegalArgumentException if it stands for nothing
   */
  public synchronized String text(long number) {
    if (number == NONE) {
      return "";
    }
    String text = number > 0 && number < CAPACITY ? texts[(int) number] : null;
    if (text == null) {
      throw new IllegalArgumentException("there is no caption number " + number);
    }
    return text;
  }
}
