// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

/**
 * The SplitMix64 generator: a counter stepped by the golden ratio {@code 0x9E3779B97F4A7C15} and
 * hashed,
 *
 * <pre>
 * z = (state += 0x9E3779B97F4A7C15)
 * z = (z ^ z &gt;&gt;&gt; 30) * 0xBF58476D1CE4E5B9
 * z = (z ^ z &gt;&gt;&gt; 27) * 0x94D049BB133111EB
 * z ^ z &gt;&gt;&gt; 31
 * </pre>
 *
 * <p>It is spelled out here, rather than taken from the JDK, so that what is drawn with it stays
 * the same on every machine and Java version. Not safe for several threads.
 *
 * <p>Source: G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA
 * 2014; constants of S. Vigna's public-domain splitmix64.c.
 */
public final class SplitMix64 {
  private static final long GOLDEN = 0x9E3779B97F4A7C15L;

  private long state;

  /**
   * A generator whose counter starts at {@code seed}.
   *
   * @param seed the seed
   */
  public SplitMix64(long seed) {
    this.state = seed;
  }

  /**
   * The generator number {@code stream} of a family: its counter starts at {@code mix(seed) ^
   * mix(~stream)}, where {@code mix} is the hash above.
   *
   * @param seed the seed
   * @param stream the number of the generator
   * @return the new object
   */
  public static SplitMix64 of(long seed, long stream) {
    return new SplitMix64(mix(seed) ^ mix(~stream));
  }

  private static long mix(long value) {
    long z = (value ^ value >>> 30) * 0xBF58476D1CE4E5B9L;
    z = (z ^ z >>> 27) * 0x94D049BB133111EBL;
    return z ^ z >>> 31;
  }

  /** {@return 64 random bits} */
  public long nextLong() {
    state += GOLDEN;
    return mix(state);
  }

  /**
   * Returns a number from 0 to {@code bound - 1}: the high half of {@code u * bound} for 32 random
   * bits {@code u} (off from uniform by at most {@code bound / 2^32}).
   *
   * @param bound one more than the largest number
   * @return the number
   * @throws IllegalArgumentException if {@code bound} is not positive
   */
  public int nextInt(int bound) {
    if (bound < 1) {
      throw new IllegalArgumentException("bound must be positive; got " + bound);
    }
    return (int) ((nextLong() >>> 32) * bound >>> 32);
  }

  /** {@return a multiple of {@code 2^-53} in [0, 1)} */
  public double nextDouble() {
    return (nextLong() >>> 11) * 0x1p-53;
  }
}
