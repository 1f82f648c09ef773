// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.models.data.batch.Shown;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Tensor;
import java.util.List;
import java.util.function.UnaryOperator;

/**
 * What a trainer learns from: batches by number. Batch {@code i} is a pure function of the data,
 * the options, the seed and {@code i}: equal bits for any number of threads, whether it was made
 * ahead or not, and whichever step a run goes on from.
 *
 * <p>One thread asks for batches. Whoever makes an object closes it; trainers do not.
 */
public interface Batches extends AutoCloseable {
  /**
   * One batch.
   *
   * @param images [B, C, H, W] F32 in [-1, 1], on the device of the batches
   * @param labels [B] I64, on the CPU
   * @param shown what is known of each picture
   */
  record Batch(Tensor images, Tensor labels, List<Shown> shown) {
    /** Copies the list. */
    public Batch {
      shown = List.copyOf(shown);
    }
  }

  /**
   * One batch, in the current scope.
   *
   * @param number which one, from 0 on
   * @throws io.sfumato.models.data.DatasetException if a picture of it cannot be used
   */
  Batch batch(long number);

  /**
   * What is in a batch, for messages: which pictures of which data.
   *
   * @param number which one
   */
  default String describe(long number) {
    return "batch " + number;
  }

  /**
   * The batches of all processes together, if these are the shares of one; else these. Whoever
   * closes these closes them.
   */
  default Batches whole() {
    return this;
  }

  /**
   * The same batches, each changed.
   *
   * @param change a pure function of a batch; its results belong to the current scope
   * @return batches that close these when they are closed
   */
  default Batches map(UnaryOperator<Batch> change) {
    return new ChangedBatches(this, change);
  }

  /** Where batches go. */
  Device device();

  /** The height of a batch; where heights differ, that of a square picture. */
  int height();

  /** The width of a batch; where widths differ, that of a square picture. */
  int width();

  /** Ends what works ahead, and frees its memory. */
  @Override
  default void close() {}
}
