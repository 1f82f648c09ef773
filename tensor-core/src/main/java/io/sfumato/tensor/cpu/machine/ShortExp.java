// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.machine;

/**
 * The short form of the exponential, {@code e^v = 2^n e^r} with {@code n} the integer next to
 * {@code v / ln 2}, for arguments whose results are normal numbers:
 *
 * <pre>
 *   z = v log2(e) + ROUNDER            n in its low bits
 *   r = v - (z - ROUNDER) ln 2
 *   e^r = 1 + r + r² (S0 + S1 r + S2 r² + S3 r³)
 * </pre>
 *
 * <p>Each line is one fused multiply-add or more, each rounded once.
 */
public final class ShortExp {
  public static final float LOG2_E = 1.44269504f;

  public static final float LN2 = 0.6931472f;

  /** {@code 1.5 2²³}: adding it rounds to an integer, found in the low bits of the sum. */
  public static final float ROUNDER = 0x1.8p23f;

  /**
   * {@code e^r = 1 + r + r² Σ Sᵢ rⁱ} for |r| up to ln 2 / 2, to 1.3e-7: the best of this degree.
   */
  public static final float S0 = 0.49999252f;

  public static final float S1 = 0.16666865f;
  public static final float S2 = 0.041887424f;
  public static final float S3 = 0.008332978f;

  /** Below it e^v is less than the smallest normal number, and taken for 0. */
  public static final float LOWEST = -87.33654f;

  /** The bits of 1, to which {@code n << 23} is added for a power of two. */
  public static final int ONE_BITS = 0x3F800000;

  private ShortExp() {}
}
