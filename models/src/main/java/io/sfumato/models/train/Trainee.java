// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** What a {@link TrainingRun} trains: models, their optimisers, and how far they are. */
public interface Trainee extends AutoCloseable {
  /** The number of steps done. */
  long steps();

  /**
   * One step on the next batches.
   *
   * @param learningRate of this step
   * @return the loss before it, and what else is known of it
   * @throws NonFiniteException if loss or gradients are not finite; the step is not done, and its
   *     model has changed nothing
   */
  StepResult step(double learningRate);

  /** Leaves out the next step: its batches are counted as done. */
  void skip();

  /**
   * Computes the next step's losses and gradients and lets go of them; nothing changes. It shows
   * what memory a step takes.
   */
  void rehearse();

  /**
   * The mean loss of batches that are not trained on, with the averaged weights, and with random
   * numbers that depend on the batch's number alone, so that losses of different steps compare.
   *
   * @param held batches of pictures that were held out
   * @param count how many: 0 to count - 1
   * @throws UnsupportedOperationException if there is no such loss, see {@link #noValidation}
   */
  double validationLoss(Batches held, int count);

  /** Why there is no {@link #validationLoss}, in words; null if there is one. */
  default @Nullable String noValidation() {
    return null;
  }

  /** Computes {@code body} with the averaged weights, if there are any, in the model. */
  <T> T average(Supplier<T> body);

  /** The updates of a step, one for each model that is trained. */
  List<Update> updates();

  /** What else is known of the last step, by name, for the run's metrics. */
  default Map<String, Double> figures() {
    return Map.of();
  }

  /**
   * What is in a batch, for messages.
   *
   * @param number the batch's number
   */
  default String describe(long number) {
    return "batch " + number;
  }

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
