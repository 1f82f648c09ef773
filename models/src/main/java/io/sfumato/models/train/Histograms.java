// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.tensor.Parameter;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** How weights and gradients are distributed, for TensorBoard, every so many steps. */
final class Histograms {
  private final @Nullable EventFile events;
  private final @Nullable Integer every;
  private final Trainee trainee;

  Histograms(@Nullable EventFile events, @Nullable Integer every, Trainee trainee) {
    this.events = events;
    this.every = every;
    this.trainee = trainee;
  }

  private boolean isDue(long step) {
    return events != null && every != null && step % every == 0;
  }

  /** Before a step: its gradients are written on the way. */
  void beforeStep() {
    if (events != null && isDue(trainee.steps() + 1)) {
      List<Update> updates = trainee.updates();
      for (int i = 0; i < updates.size(); i++) {
        String prefix = prefix("gradients", updates, i);
        updates
            .get(i)
            .watch(
                (parameter, values) ->
                    events.histogram(prefix + parameter.name(), trainee.steps() + 1, values));
      }
    }
  }

  /** After a step: the weights. */
  void afterStep() {
    if (events != null && isDue(trainee.steps())) {
      List<Update> updates = trainee.updates();
      for (int i = 0; i < updates.size(); i++) {
        for (Parameter parameter : updates.get(i).parameters()) {
          events.histogram(
              prefix("weights", updates, i) + parameter.name(),
              trainee.steps(),
              parameter.value().toDoubleArray());
        }
      }
    }
  }

  /** Two models that are trained together may have equal names. */
  private static String prefix(String what, List<Update> updates, int which) {
    return what + "/" + (updates.size() > 1 ? which + "/" : "");
  }
}
