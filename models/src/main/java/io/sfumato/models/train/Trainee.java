// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import java.nio.file.Path;

/** What a {@link TrainingRun} trains: models, their optimisers, and how far they are. */
public interface Trainee extends AutoCloseable {
  /** The number of steps done. */
  long steps();

  /**
   * One optimiser step on the next batch.
   *
   * @param learningRate of this step
   * @return the loss before it
   */
  double step(double learningRate);

  /**
   * Writes everything that {@link #restore} needs, and what others shall read.
   *
   * @param folder an existing, empty folder; {@code training/state.json} in it is the run's
   */
  void save(Path folder);

  /**
   * Goes on from what {@link #save} wrote: the next step is the one that would have come.
   *
   * @param folder a checkpoint
   * @param step the number of steps it has done
   */
  void restore(Path folder, long step);

  @Override
  void close();
}
