// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import java.util.function.Supplier;

/**
 * Which part of a larger batch is computed here: share {@code index} of {@code count} equal ones,
 * as when several processes train on one batch together. What is drawn for each sample is drawn for
 * the whole batch and cut, so sample k of the batch gets the same numbers whoever computes it, and
 * however many share the work. It is a property of a region of code, as {@link Dropout} is.
 *
 * <p>What is drawn once for all samples (the rows of a weight that are dropped, say) comes from
 * {@link Rng} itself and is the same in every share.
 *
 * @param index from 0 to {@code count - 1}
 * @param count the number of shares
 */
public record BatchShare(int index, int count) {
  /** All of it. */
  public static final BatchShare WHOLE = new BatchShare(0, 1);

  private static final ScopedValue<BatchShare> CURRENT = ScopedValue.newInstance();

  /** Checks the numbers. */
  public BatchShare {
    if (count < 1 || index < 0 || index >= count) {
      throw new IllegalArgumentException("no share of a batch: " + index + " of " + count);
    }
  }

  /** The share of the region around; {@link #WHOLE} outside of all. */
  public static BatchShare current() {
    return CURRENT.isBound() ? CURRENT.get() : WHOLE;
  }

  /** Runs a region that computes this share. */
  public <R> R run(Supplier<R> body) {
    return ScopedValue.where(CURRENT, this).call(body::get);
  }

  /** The number in the whole batch of sample {@code sample} of a share of {@code size} samples. */
  public long number(long sample, int size) {
    return (long) index * size + sample;
  }

  /**
   * Standard normal values for each sample.
   *
   * @param spec [B, …] of this share
   */
  public Tensor normal(Rng rng, TensorSpec spec) {
    return count == 1 ? rng.normal(spec) : cut(rng.normal(whole(spec)));
  }

  /**
   * Uniform values in [0, 1) for each sample.
   *
   * @param spec [B, …] of this share
   */
  public Tensor uniform(Rng rng, TensorSpec spec) {
    return count == 1 ? rng.uniform(spec) : cut(rng.uniform(whole(spec)));
  }

  /**
   * This share of something with a row for each sample of the whole batch.
   *
   * @param whole [count · B, …]
   * @return [B, …], a view
   * @throws IllegalArgumentException if the rows cannot be shared out equally
   */
  public Tensor cut(Tensor whole) {
    int rows = whole.dim(0);
    if (rows % count != 0) {
      throw new IllegalArgumentException(
          "a batch of " + rows + " cannot be shared out equally among " + count);
    }
    int size = rows / count;
    return whole.slice(0, index * size, (index + 1) * size);
  }

  private TensorSpec whole(TensorSpec spec) {
    int[] dims = spec.shape().dims().clone();
    dims[0] = Math.multiplyExact(dims[0], count);
    return spec.with(Shape.of(dims));
  }
}
