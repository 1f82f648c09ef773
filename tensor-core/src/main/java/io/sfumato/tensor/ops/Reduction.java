// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;

/** What becomes of a loss's elements. */
public enum Reduction {
  /** They stay. */
  NONE,
  /** Their mean. */
  MEAN,
  /** Their sum. */
  SUM,
  /** Their sum, divided by the size of axis 0. */
  BATCH_MEAN;

  /** The shape of the result for elements of shape {@code x}. */
  Shape shape(Shape x) {
    return this == NONE ? x : Shape.SCALAR;
  }

  /** What the sum is divided by. */
  double divisor(Shape x) {
    return switch (this) {
      case NONE, SUM -> 1;
      case MEAN -> x.numel();
      case BATCH_MEAN -> x.dim(0);
    };
  }

  /** The reduced loss. */
  Tensor of(Tensor losses) {
    return switch (this) {
      case NONE -> losses;
      case SUM -> Num.sum(losses);
      case MEAN -> Num.mean(losses);
      case BATCH_MEAN -> Num.sum(losses).div(divisor(losses.shape()));
    };
  }
}
