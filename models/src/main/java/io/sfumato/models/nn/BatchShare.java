// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Executor;
import java.util.List;
import java.util.function.Supplier;

/**
 * Which part of a larger batch is computed here: share {@code index} of {@code count} equal ones,
 * as when several processes train on one batch together. What is drawn for each sample is drawn for
 * the whole batch and cut, so sample k of the batch gets the same numbers whoever computes it, and
 * however many share the work. It is a property of a region of code, as {@link Dropout} is.
 *
 * <p>What is drawn once for all samples (the rows of a weight that are dropped, say) comes from
 * {@link Rng} itself and is the same in every share. What depends on all samples at once, as the
 * statistics of {@link BatchNorm2d} do, is computed from {@link #mean} and {@link #sum}.
 *
 * @param index from 0 to {@code count - 1}
 * @param count the number of shares
 */
public record BatchShare(int index, int count) {
  /** All of it. */
  public static final BatchShare WHOLE = new BatchShare(0, 1);

  private static final ScopedValue<BatchShare> CURRENT = ScopedValue.newInstance();
  private static final ScopedValue<Means> MEANS = ScopedValue.newInstance();

  /** How those who compute shares hear of each other's numbers. */
  @FunctionalInterface
  public interface Means {
    /** Each for itself: the numbers of the own share are taken for all. */
    Means APART = own -> own;

    /**
     * The mean over all shares; all must ask for it in the same order, and get the same bits.
     *
     * @param own the numbers of this share
     */
    double[] mean(double[] own);
  }

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

  /** Runs a region that computes this share, and in which nothing depends on the others. */
  public <R> R run(Supplier<R> body) {
    return ScopedValue.where(CURRENT, this).call(body::get);
  }

  /**
   * Runs a region that computes this share.
   *
   * @param means how it hears of the other ones
   */
  public <R> R run(Means means, Supplier<R> body) {
    return ScopedValue.where(CURRENT, this).where(MEANS, means).call(body::get);
  }

  /**
   * Runs a region that hears nothing of the other shares, although it may be within one that does:
   * to compute something once more that the others do not compute.
   */
  public static <R> R apart(Supplier<R> body) {
    return ScopedValue.where(MEANS, Means.APART).call(body::get);
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
    int size = size(whole.dim(0));
    return count == 1 ? whole : whole.slice(0, index * size, (index + 1) * size);
  }

  /**
   * This share of something with an entry for each sample of the whole batch.
   *
   * @throws IllegalArgumentException if the entries cannot be shared out equally
   */
  public <T> List<T> cut(List<T> whole) {
    int size = size(whole.size());
    return count == 1 ? whole : whole.subList(index * size, (index + 1) * size);
  }

  /**
   * The number of samples in a share.
   *
   * @param whole those of the whole batch
   * @throws IllegalArgumentException if they cannot be shared out equally
   */
  public int size(int whole) {
    if (whole % count != 0) {
      throw new IllegalArgumentException(
          "a batch of " + whole + " cannot be shared out equally among " + count);
    }
    return whole / count;
  }

  /**
   * The mean over all shares of something small, such as statistics of channels; {@code own} itself
   * if this is all of the batch. It is differentiable any number of times, if all shares compute
   * the same: the gradient is that of the sum of all shares' results.
   *
   * @param own floating, of the same shape in every share
   * @throws IllegalStateException if the region knows no way to the others
   */
  public Tensor mean(Tensor own) {
    return ofAll(own, 1);
  }

  /** The sum over all shares; see {@link #mean}. */
  public Tensor sum(Tensor own) {
    return ofAll(own, count);
  }

  private Tensor ofAll(Tensor own, double factor) {
    if (count == 1) {
      return own;
    }
    if (!MEANS.isBound()) {
      throw new IllegalStateException(
          "what is computed here depends on the whole batch, and this is share "
              + index
              + " of "
              + count
              + " with no way to the others; run it by a Team, or with BatchShare.Means");
    }
    return Executor.run(new MeanOfShares(MEANS.get(), factor), own);
  }

  private TensorSpec whole(TensorSpec spec) {
    int[] dims = spec.shape().dims().clone();
    dims[0] = Math.multiplyExact(dims[0], count);
    return spec.with(Shape.of(dims));
  }
}
