// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * Mean and variance in one pass: {@code Σ (x - c)} and {@code Σ (x - c)²} are summed around a pilot
 * c, a guess at the mean. They serve if the guess was good; if not, too much would cancel, and a
 * second pass goes around the mean that the first one found.
 */
public final class Pilot {
  /** What {@code Σ (x - c)² n} is multiplied by before it is compared. */
  public static final double NEAR = 0.5;

  private Pilot() {}

  /** The mean of four of {@code n} consecutive floats. */
  public static float of(long x, long n) {
    long step = n / 4 * 4;
    float low = Memory.getFloat(x) + Memory.getFloat(x + step);
    return 0.25f * (low + (Memory.getFloat(x + 2 * step) + Memory.getFloat(x + 3 * step)));
  }

  /**
   * Whether the pilot is within one standard deviation of the mean; false if anything is NaN.
   *
   * @param s {@code Σ (x - c)}
   * @param q {@code Σ (x - c)²}
   * @param n the number of values
   */
  public static boolean serves(double s, double q, long n) {
    return s * s <= NEAR * n * q;
  }
}
