// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import io.sfumato.tensor.Rng;
import java.util.Arrays;

/**
 * A data set in two parts: what is trained on, and a random share that is held out for validation.
 * Which pictures are held out depends on the source of randomness and their number only.
 *
 * @param training the larger part
 * @param held the part that is held out
 */
public record HeldOut(ImageDataset training, ImageDataset held) {
  /**
   * Splits a data set.
   *
   * @param all the data set
   * @param share of the pictures to hold out, in (0, 1)
   * @param rng decides which
   * @throws IllegalArgumentException if one of the parts would be empty
   */
  public static HeldOut of(ImageDataset all, double share, Rng rng) {
    int n = all.size();
    int held = (int) Math.round(n * share);
    if (!(share > 0 && share < 1) || held == 0 || held == n) {
      throw new IllegalArgumentException(
          "a share of "
              + share
              + " of "
              + n
              + " pictures cannot be held out: both parts need a picture");
    }
    int[] order = rng.shuffled(n);
    return new HeldOut(
        part(all, Arrays.copyOfRange(order, held, n)),
        part(all, Arrays.copyOfRange(order, 0, held)));
  }

  private static ImageDataset part(ImageDataset all, int[] indices) {
    Arrays.sort(indices);
    return new ClassSubset(all, indices);
  }
}
