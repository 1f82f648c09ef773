// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import java.nio.file.Path;

/** Is told how far a {@link TrainingRun} is; each method has nothing to do unless overridden. */
public interface RunListener {
  /** One that does nothing. */
  RunListener NONE = new RunListener() {};

  /**
   * The run holds its folder's lock, and its first step comes next.
   *
   * @param folder the run's folder
   */
  default void started(Path folder) {}

  /**
   * A checkpoint is complete.
   *
   * @param folder the run's folder
   * @param step the steps it has done
   */
  default void saved(Path folder, long step) {}

  /**
   * The loop has ended, and all files of the run but the listener's own are written.
   *
   * @param folder the run's folder
   */
  default void ended(Path folder) {}
}
