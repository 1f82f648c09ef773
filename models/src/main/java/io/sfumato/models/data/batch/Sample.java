// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.batch;

import io.sfumato.models.data.Picture;
import java.util.List;

/**
 * One picture of a batch, ready to be copied into it.
 *
 * @param picture the pixels
 * @param shown what is known of it
 * @param failures pictures that should have been here and could not be used
 */
public record Sample(Picture picture, Shown shown, List<Failure> failures) {
  /**
   * A picture that could not be used.
   *
   * @param index the picture
   * @param problem what is wrong; names its file
   */
  public record Failure(int index, String problem) {}

  /** Copies the list. */
  public Sample {
    failures = List.copyOf(failures);
  }
}
