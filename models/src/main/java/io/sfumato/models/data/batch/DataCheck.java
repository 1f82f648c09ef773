// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.batch;

import io.sfumato.models.data.DatasetException;
import io.sfumato.models.data.Pictures;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.util.List;
import java.util.Objects;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** Reads every picture once, so that what is wrong is known before a run. */
public final class DataCheck {
  private static final Logger LOG = System.getLogger(DataCheck.class.getName());
  private static final int SHOWN = 20;

  private DataCheck() {}

  /**
   * {@return what is wrong with pictures, one line for each that cannot be used, in their order}
   *
   * @param pictures the pictures
   */
  public static List<String> problems(Pictures pictures) {
    return IntStream.range(0, pictures.size())
        .parallel()
        .mapToObj(i -> problem(pictures, i))
        .filter(Objects::nonNull)
        .toList();
  }

  /**
   * Reads every picture.
   *
   * @param pictures the pictures
   * @throws IllegalArgumentException that names the first 20 pictures that cannot be used, and says
   *     how many there are
   */
  public static void require(Pictures pictures) {
    List<String> problems = problems(pictures);
    if (!problems.isEmpty()) {
      throw failure(problems, pictures);
    }
  }

  /**
   * Reads every picture, and logs a warning for each that cannot be used.
   *
   * @param pictures the pictures
   * @param mostShare the part of them that may be bad
   * @throws IllegalArgumentException as {@link #require}, if more are
   */
  public static void warn(Pictures pictures, double mostShare) {
    List<String> problems = problems(pictures);
    problems.forEach(problem -> LOG.log(Level.WARNING, "cannot be used: {0}", problem));
    if (problems.size() > mostShare * pictures.size()) {
      throw failure(problems, pictures);
    }
  }

  private static IllegalArgumentException failure(List<String> problems, Pictures pictures) {
    return new IllegalArgumentException(
        problems.size()
            + " of "
            + pictures.size()
            + " pictures cannot be used:\n  "
            + String.join("\n  ", problems.subList(0, Math.min(SHOWN, problems.size())))
            + (problems.size() > SHOWN ? "\n  and so on" : ""));
  }

  private static @Nullable String problem(Pictures pictures, int index) {
    try {
      pictures.read(index, picture -> true);
      return null;
    } catch (DatasetException e) {
      return e.getMessage();
    }
  }
}
