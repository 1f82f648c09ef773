// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import java.util.List;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * A trainer of one model by one {@link Update} per step. Step s learns from batches k s to k s + k
 * - 1, where k is the number of micro-batches; what is random depends on the batch's number.
 */
abstract class OneModelTrainer implements Trainee {
  private final Update update;
  private final Batches loader;
  private final Rng rng;
  private long step;
  private int pictures;
  private Update.@Nullable RepeatedLoss recordable;

  OneModelTrainer(Update update, Batches loader, Rng rng) {
    this.update = update;
    this.loader = loader;
    this.rng = rng;
  }

  /**
   * The loss of one batch, in two parts.
   *
   * @param batch the batch
   * @param draw the source of everything random
   * @param training whether labels and features may be dropped
   * @return computes the loss and what {@link #stepped} wants; it runs where it is recorded
   */
  abstract Supplier<Tensor[]> loss(Batches.Batch batch, Rng draw, boolean training);

  /**
   * The loss of a training batch in a form that can be recorded.
   *
   * @throws IllegalArgumentException if there is none, with the reason
   */
  RepeatedBatchLoss repeated() {
    throw new IllegalArgumentException(Update.NOT_RECORDABLE);
  }

  /** A {@link Update.RepeatedLoss} of batches that are read already. */
  interface RepeatedBatchLoss {
    /** See {@link Update.RepeatedLoss#inputs}; {@code draw} is the source of everything random. */
    List<Tensor> inputs(Batches.Batch batch, Rng draw);

    /** See {@link Update.RepeatedLoss#of}. */
    Tensor[] of(List<Tensor> inputs);
  }

  /** Called after each step that changed the parameters; {@code draw} is the step's own. */
  void stepped(Update.Done done, long steps, Rng draw) {}

  @Override
  public final <T> T average(Supplier<T> body) {
    return update.average(body);
  }

  /** How steps are made, and what they leave. */
  final Update update() {
    return update;
  }

  /** Where batches come from. */
  final Batches loader() {
    return loader;
  }

  @Override
  public final List<Update> updates() {
    return List.of(update);
  }

  @Override
  public final long steps() {
    return step;
  }

  @Override
  public final StepResult step(double learningRate) {
    try (Scope scope = Scope.open()) {
      pictures = 0;
      int count = update.options().accumulate();
      Update.Done done =
          update.options().graph()
              ? update.step(learningRate, step, recordable())
              : update.step(learningRate, step * count, count, this::prepare);
      if (!done.skipped()) {
        stepped(done, step + 1, rng.step(step));
      }
      step++;
      return StepResult.of(done, pictures);
    }
  }

  private Update.RepeatedLoss recordable() {
    if (recordable == null) {
      RepeatedBatchLoss loss = repeated();
      recordable =
          new Update.RepeatedLoss() {
            @Override
            public List<Tensor> inputs(long number) {
              Batches.Batch batch = loader.batch(number);
              pictures += batch.images().dim(0);
              return loss.inputs(batch, rng.step(number));
            }

            @Override
            public Tensor[] of(List<Tensor> inputs) {
              return loss.of(inputs);
            }
          };
    }
    return recordable;
  }

  private Supplier<Tensor[]> prepare(long number) {
    Batches.Batch batch = loader.batch(number);
    pictures += batch.images().dim(0);
    return loss(batch, rng.step(number), true);
  }

  @Override
  public final void skip() {
    step++;
  }

  @Override
  public final void rehearse() {
    try (Scope scope = Scope.open()) {
      update.gradients(step * update.options().accumulate(), this::prepare);
    }
  }

  @Override
  public double validationLoss(Batches held, int count) {
    Rng draw = rng.fork("validation");
    return update.average(
        () -> {
          double sum = 0;
          for (int i = 0; i < count; i++) {
            try (Scope scope = Scope.open()) {
              Supplier<Tensor[]> body = loss(held.batch(i), draw.step(i), false);
              sum += update.options().precision().run(body)[0].item() / count;
            }
          }
          return sum;
        });
  }

  @Override
  public final String describe(long number) {
    return loader.describe(number);
  }

  /** Goes on at this step. */
  final void at(long steps) {
    step = steps;
  }
}
