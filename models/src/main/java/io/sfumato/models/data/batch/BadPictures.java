// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.batch;

import io.sfumato.models.data.DatasetException;
import io.sfumato.models.data.Pictures;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;

/**
 * Keeps count of pictures that were replaced because they cannot be used: a warning for each, a sum
 * at the end, and an exception once they are too many.
 */
public final class BadPictures {
  private static final Logger LOG = System.getLogger(BadPictures.class.getName());

  private final Pictures pictures;
  private final double mostShare;
  private final Set<Integer> bad = new TreeSet<>();
  private long replaced;

  /**
   * An empty count.
   *
   * @param pictures the pictures
   * @param mostShare the part of them that may be bad
   */
  public BadPictures(Pictures pictures, double mostShare) {
    this.pictures = pictures;
    this.mostShare = mostShare;
  }

  /**
   * Takes note of what had to be replaced in a batch.
   *
   * @param failures the pictures, and why
   * @throws DatasetException if more pictures are bad than may be
   */
  public void add(List<Sample.Failure> failures) {
    replaced += failures.isEmpty() ? 0 : 1;
    for (Sample.Failure failure : failures) {
      if (bad.add(failure.index())) {
        LOG.log(Level.WARNING, "replaced by another picture: {0}", failure.problem());
        if (bad.size() > mostShare * pictures.size()) {
          throw DatasetException.of(
              Path.of(pictures.name(failure.index())),
              "with this one, "
                  + bad.size()
                  + " of "
                  + pictures.size()
                  + " pictures cannot be used; at most "
                  + Math.round(100 * mostShare)
                  + " % may be replaced: "
                  + failure.problem());
        }
      }
    }
  }

  /** {@return the pictures that could not be used, in ascending order} */
  public List<Integer> indices() {
    return List.copyOf(bad);
  }

  /** Logs the sum, if there is anything to tell. */
  public void summarise() {
    if (!bad.isEmpty()) {
      LOG.log(
          Level.WARNING,
          "{0} of {1} pictures could not be used and were replaced by others, {2} times",
          bad.size(),
          pictures.size(),
          replaced);
    }
  }
}
