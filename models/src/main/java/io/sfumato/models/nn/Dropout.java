// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Varying;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import java.util.Optional;
import java.util.function.Supplier;

/**
 * Dropout while training: elements become zero with probability p, the others are divided by 1 - p.
 * Training is a property of a region of code, not of the model: inside {@link #active} dropout
 * acts, elsewhere the layer passes its input on.
 */
public final class Dropout extends Layer {
  private static final ScopedValue<Rng> ACTIVE = ScopedValue.newInstance();

  private final double p;

  /** A layer that drops with probability {@code p}. */
  public Dropout(Weights weights, double p) {
    super(weights);
    if (p < 0 || p >= 1) {
      throw new IllegalArgumentException(path() + ": dropout must be in [0, 1); got " + p);
    }
    this.p = p;
  }

  /**
   * Runs a training forward: every dropout inside draws from a fork of {@code rng} named by its
   * path, so the same key drops the same elements again. Work with dropout cannot be recorded.
   */
  public static <R> R active(Rng rng, Supplier<R> body) {
    return ScopedValue.where(ACTIVE, rng).call(body::get);
  }

  /** Whether this is a region of training. */
  public static boolean isActive() {
    return ACTIVE.isBound();
  }

  /** The source of what is dropped in this region of training; empty elsewhere. */
  public static Optional<Rng> current() {
    return ACTIVE.isBound() ? Optional.of(ACTIVE.get()) : Optional.empty();
  }

  @Override
  protected Tensor forward(Tensor x) {
    if (p == 0 || !ACTIVE.isBound()) {
      return x;
    }
    if (Varying.isRecording()) {
      throw new IllegalStateException(
          path() + ": dropout draws anew in each step, and a recorded step would repeat its draw");
    }
    Rng own = ACTIVE.get().fork(path());
    BatchShare share = BatchShare.current();
    if (share.count() == 1) {
      return NN.dropout(x, p, own);
    }
    // The op's draw begins at element 0; this share's begins further on.
    Tensor draw = share.uniform(own, x.spec().with(DType.F32));
    Tensor none = Tensor.zeros(x.spec());
    return Num.where(Num.ge(draw, p), x.mul(1 / (1 - p)), none);
  }
}
