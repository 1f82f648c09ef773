// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;

/**
 * Normalisation and its backward by differentiable ops, for second derivatives.
 *
 * @param normalised {@code x̂ = (x - mean) rstd}, or {@code x rstd} where there is no mean
 * @param rstd the factor, one value per normalised run
 * @param rows the shape of the statistics; it broadcasts to x
 * @param centred whether the mean was subtracted
 */
record NormCompose(Tensor normalised, Tensor rstd, Shape rows, boolean centred) {
  /** By mean and variance. */
  static NormCompose centred(Tensor x, Shape rows, double eps) {
    Tensor difference = x.sub(mean(x, rows));
    return scaled(difference, rows, eps, true);
  }

  /** By the mean square. */
  static NormCompose uncentred(Tensor x, Shape rows, double eps) {
    return scaled(x, rows, eps, false);
  }

  private static NormCompose scaled(Tensor x, Shape rows, double eps, boolean centred) {
    Tensor rstd = Num.rsqrt(mean(x.mul(x), rows).add(eps));
    return new NormCompose(x.mul(rstd), rstd, rows, centred);
  }

  /**
   * {@code dx = rstd (dx̂ - mean(dx̂) - x̂ mean(dx̂ x̂))}, without the second term if uncentred.
   */
  Tensor backward(Tensor dxhat) {
    Tensor rest = dxhat.sub(normalised.mul(mean(dxhat.mul(normalised), rows)));
    return (centred ? rest.sub(mean(dxhat, rows)) : rest).mul(rstd);
  }

  /** The derivative of {@code z sigmoid(z)}. */
  static Tensor siluSlope(Tensor z) {
    Tensor s = NN.sigmoid(z);
    return s.mul(z.mul(s.neg().add(1)).add(1));
  }

  private static Tensor mean(Tensor x, Shape rows) {
    return Num.sumTo(x, rows).mul((double) Math.max(1, rows.numel()) / Math.max(1, x.numel()));
  }
}
