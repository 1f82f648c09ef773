// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

import io.sfumato.tensor.cpu.Memory;

/**
 * Random numbers without a state: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3", SC 2011) turns a 64-bit key and a 128-bit counter into four random
 * words.
 *
 * <p>A draw is an endless sequence of elements that belongs to a key, and element i depends on
 * nothing but the key and i: word {@code i mod 4} of the block whose counter is {@code floor(i /
 * 4)} (low 64 bits; the high 64 bits are 0). Any division of the work among threads, and a GPU,
 * give the same numbers. The kinds of draws (bits, uniform, normal, integers) use the same words,
 * so every draw needs a key of its own: see {@link #deriveKey}.
 *
 * <ul>
 *   <li>uniform: {@code (w >>> 8) 2^-24}, in [0, 1);
 *   <li>normal, by Box-Muller on the words (w0, w1) for elements 0, 1 of a block and on (w2, w3)
 *       for elements 2, 3: {@code r cos(t), r sin(t)} with {@code r = sqrt(-2 ln u)}, {@code u =
 *       (w0 + 1/2) 2^-32} rounded to float32, in (0, 1], and {@code t = 2 pi w1 2^-32}; |z| is at
 *       most 6.77. Computed in float32 by operations that IEEE 754 fixes, hence equal to the bit on
 *       every machine;
 *   <li>integers in [low, high): the high half of the 128-bit product of {@code high - low} and 64
 *       bits (word 0 high, word 1 low for even elements, words 2 and 3 for odd ones; two elements
 *       per block), so no value is likelier than another by more than {@code (high - low) 2^-64}.
 * </ul>
 *
 * <p>Float64 results are the float32 ones, widened: a draw is the same in every floating type.
 */
public final class Philox {
  private static final int MULTIPLIER_0 = 0xD2511F53;
  private static final int MULTIPLIER_1 = 0xCD9E8D57;
  private static final int WEYL_0 = 0x9E3779B9;
  private static final int WEYL_1 = 0xBB67AE85;
  private static final int ROUNDS = 10;
  private static final long LOW = 0xffffffffL;

  /** Marks the counters of {@link #deriveKey}, which no element of a draw uses. */
  private static final long DERIVATION = -1L;

  private Philox() {}

  /**
   * The four words of one block.
   *
   * @param key the key, its low half is the first key word
   * @param counterLow counter words 0 (low half) and 1
   * @param counterHigh counter words 2 (low half) and 3
   */
  public static int[] block(long key, long counterLow, long counterHigh) {
    int c0 = (int) counterLow;
    int c1 = (int) (counterLow >>> 32);
    int c2 = (int) counterHigh;
    int c3 = (int) (counterHigh >>> 32);
    int k0 = (int) key;
    int k1 = (int) (key >>> 32);
    for (int round = 0; round < ROUNDS; round++) {
      long product0 = (c0 & LOW) * (MULTIPLIER_0 & LOW);
      long product1 = (c2 & LOW) * (MULTIPLIER_1 & LOW);
      c0 = (int) (product1 >>> 32) ^ c1 ^ k0;
      c1 = (int) product1;
      c2 = (int) (product0 >>> 32) ^ c3 ^ k1;
      c3 = (int) product0;
      k0 += WEYL_0;
      k1 += WEYL_1;
    }
    return new int[] {c0, c1, c2, c3};
  }

  /** The key of stream {@code index} below {@code key}; unlike indices give unrelated keys. */
  public static long deriveKey(long key, long index) {
    int[] words = block(key, index, DERIVATION);
    return ((long) words[1] << 32) | (words[0] & LOW);
  }

  /** Element {@code element} of the draw of 32 random bits each. */
  public static int bits(long key, long element) {
    return block(key, element >>> 2, 0)[(int) element & 3];
  }

  /** Element {@code element} of the uniform draw: 24 bits, in [0, 1). */
  public static float uniform(long key, long element) {
    return toUniform(bits(key, element));
  }

  /** Element {@code element} of the standard normal draw. */
  public static float normal(long key, long element) {
    int[] words = block(key, element >>> 2, 0);
    int pair = (int) element & 2;
    int angle = words[pair + 1];
    int quarter = BoxMuller.quarter(angle);
    float rest = BoxMuller.rest(angle, quarter);
    float sin = BoxMuller.sin(rest);
    float cos = BoxMuller.cos(rest);
    float turned =
        (element & 1) == 0
            ? BoxMuller.turnedCos(sin, cos, quarter)
            : BoxMuller.turnedSin(sin, cos, quarter);
    return BoxMuller.radius(words[pair]) * turned;
  }

  /**
   * Element {@code element} of the draw of integers in [low, high).
   *
   * @throws IllegalArgumentException if {@code low >= high}
   */
  public static long integer(long key, long element, long low, long high) {
    requireRange(low, high);
    int[] words = block(key, element >>> 1, 0);
    int pair = (int) (element & 1) * 2;
    long random = ((long) words[pair] << 32) | (words[pair + 1] & LOW);
    return Math.unsignedMultiplyHigh(random, high - low) + low;
  }

  /**
   * Stores the elements {@code offset} to {@code offset + count - 1} of the draw of bits as 32-bit
   * integers at {@code address}.
   */
  public static void fillBits(long key, long offset, long count, long address) {
    fill(key, offset, count, address, PhiloxBlocks.BITS);
  }

  /**
   * Stores the elements {@code offset} to {@code offset + count - 1} of the uniform draw as float32
   * at {@code address}.
   */
  public static void fillUniform(long key, long offset, long count, long address) {
    fill(key, offset, count, address, PhiloxBlocks.UNIFORM);
  }

  /**
   * Stores the elements {@code offset} to {@code offset + count - 1} of the standard normal draw as
   * float32 at {@code address}.
   */
  public static void fillNormal(long key, long offset, long count, long address) {
    fill(key, offset, count, address, PhiloxBlocks.NORMAL);
  }

  /** {@link #fillUniform} widened to float64. */
  public static void fillUniformF64(long key, long offset, long count, long address) {
    fill(key, offset, count, address, PhiloxBlocks.UNIFORM | PhiloxBlocks.WIDEN);
  }

  /** {@link #fillNormal} widened to float64. */
  public static void fillNormalF64(long key, long offset, long count, long address) {
    fill(key, offset, count, address, PhiloxBlocks.NORMAL | PhiloxBlocks.WIDEN);
  }

  /**
   * Stores the elements {@code offset} to {@code offset + count - 1} of the draw of integers in
   * [low, high) as 64-bit integers at {@code address}.
   *
   * @throws IllegalArgumentException if {@code low >= high}, or an offset or count is negative
   */
  public static void fillIntegers(
      long key, long offset, long count, long low, long high, long address) {
    requireRange(low, high);
    requireElements(offset, count);
    for (long i = 0; i < count; i++) {
      Memory.putLong(address + 8 * i, integer(key, offset + i, low, high));
    }
  }

  static float toUniform(int word) {
    return (word >>> 8) * 0x1p-24f;
  }

  private static void fill(long key, long offset, long count, long address, int kind) {
    requireElements(offset, count);
    new PhiloxBlocks(key).fill(offset, count, address, kind);
  }

  private static void requireRange(long low, long high) {
    if (low >= high) {
      throw new IllegalArgumentException(
          "Philox: integers need low < high; got " + low + " and " + high);
    }
  }

  private static void requireElements(long offset, long count) {
    if (offset < 0 || count < 0 || offset + count < 0) {
      throw new IllegalArgumentException(
          "Philox: offset and count must not be negative; got " + offset + " and " + count);
    }
  }
}
