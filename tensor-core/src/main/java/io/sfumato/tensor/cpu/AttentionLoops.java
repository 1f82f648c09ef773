// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * The loops of {@link AttentionKernel} between its matrix products; each sees one row of scores.
 */
public interface AttentionLoops {
  /** {@code s += mask}. */
  void addMask(long s, long mask, int n);

  /** The largest score, NaN passed over; negative infinity if there is none. */
  float max(long s, int n);

  /** {@code s = e^(s - shift)}; returns the sum. */
  double exponentials(long s, int n, float shift);

  /** {@code to = factor from}. */
  void scale(long from, long to, int n, float factor);

  /** {@code s = P = e^(s - lse)}, {@code dp = P (dp - delta) scale}. */
  void gradient(long s, long dp, int n, float lse, float delta, float scale);
}
