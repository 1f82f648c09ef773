// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

import io.sfumato.tensor.cpu.Memory;

/**
 * Many Philox blocks at a time. The four words of a batch of blocks lie in four arrays, and each
 * step is a plain loop over an array, which the compiler turns into vector instructions; see {@link
 * Philox} for what is computed.
 */
final class PhiloxBlocks {
  static final int BITS = 0;
  static final int UNIFORM = 1;
  static final int NORMAL = 2;

  /** Added to a kind: store float64 instead of float32. */
  static final int WIDEN = 4;

  private static final int BATCH = 256;
  private static final long LOW = 0xffffffffL;

  private final int key0;
  private final int key1;
  private final int[] w0 = new int[BATCH];
  private final int[] w1 = new int[BATCH];
  private final int[] w2 = new int[BATCH];
  private final int[] w3 = new int[BATCH];

  PhiloxBlocks(long key) {
    this.key0 = (int) key;
    this.key1 = (int) (key >>> 32);
  }

  /** Stores the elements {@code offset} to {@code offset + count - 1} at {@code address}. */
  void fill(long offset, long count, long address, int kind) {
    boolean widen = (kind & WIDEN) != 0;
    int bytes = widen ? 8 : 4;
    long end = offset + count;
    long element = offset;
    while (element < end) {
      long block = element >>> 2;
      int blocks = (int) Math.min(BATCH, ((end + 3) >>> 2) - block);
      words(block, blocks);
      switch (kind & ~WIDEN) {
        case UNIFORM -> uniform(blocks);
        case NORMAL -> {
          normal(w0, w1, blocks);
          normal(w2, w3, blocks);
        }
        default -> {}
      }
      long first = block << 2;
      long last = Math.min(end, first + 4L * blocks);
      long target = address + bytes * (first - offset);
      if (first >= offset && last == first + 4L * blocks && !widen) {
        store(blocks, target);
      } else {
        storePart((int) (element - first), (int) (last - first), target, widen);
      }
      element = last;
    }
  }

  /** Fills the four arrays with the blocks {@code block} to {@code block + blocks - 1}. */
  private void words(long block, int blocks) {
    for (int b = 0; b < blocks; b++) {
      long counter = block + b;
      w0[b] = (int) counter;
      w1[b] = (int) (counter >>> 32);
      w2[b] = 0;
      w3[b] = 0;
    }
    int k0 = key0;
    int k1 = key1;
    for (int round = 0; round < 10; round++) {
      round(k0, k1, blocks);
      k0 += 0x9E3779B9;
      k1 += 0xBB67AE85;
    }
  }

  private void round(int k0, int k1, int blocks) {
    int[] c0 = w0;
    int[] c1 = w1;
    int[] c2 = w2;
    int[] c3 = w3;
    for (int b = 0; b < blocks; b++) {
      long product0 = (c0[b] & LOW) * 0xD2511F53L;
      long product1 = (c2[b] & LOW) * 0xCD9E8D57L;
      c0[b] = (int) (product1 >>> 32) ^ c1[b] ^ k0;
      c1[b] = (int) product1;
      c2[b] = (int) (product0 >>> 32) ^ c3[b] ^ k1;
      c3[b] = (int) product0;
    }
  }

  private void uniform(int blocks) {
    for (int[] words : new int[][] {w0, w1, w2, w3}) {
      for (int b = 0; b < blocks; b++) {
        words[b] = Float.floatToRawIntBits(Philox.toUniform(words[b]));
      }
    }
  }

  /** Replaces pairs of words by the bits of pairs of normal numbers. */
  private static void normal(int[] a, int[] b, int blocks) {
    for (int i = 0; i < blocks; i++) {
      float radius = BoxMuller.radius(a[i]);
      int quarter = BoxMuller.quarter(b[i]);
      float rest = BoxMuller.rest(b[i], quarter);
      float sin = BoxMuller.sin(rest);
      float cos = BoxMuller.cos(rest);
      a[i] = Float.floatToRawIntBits(radius * BoxMuller.turnedCos(sin, cos, quarter));
      b[i] = Float.floatToRawIntBits(radius * BoxMuller.turnedSin(sin, cos, quarter));
    }
  }

  private void store(int blocks, long target) {
    for (int b = 0; b < blocks; b++) {
      Memory.putLong(target + 16L * b, (w0[b] & LOW) | ((long) w1[b] << 32));
      Memory.putLong(target + 16L * b + 8, (w2[b] & LOW) | ((long) w3[b] << 32));
    }
  }

  private void storePart(int from, int to, long target, boolean widen) {
    for (int i = from; i < to; i++) {
      int[] words =
          switch (i & 3) {
            case 0 -> w0;
            case 1 -> w1;
            case 2 -> w2;
            default -> w3;
          };
      int word = words[i >> 2];
      if (widen) {
        Memory.putDouble(target + 8L * i, Float.intBitsToFloat(word));
      } else {
        Memory.putInt(target + 4L * i, word);
      }
    }
  }
}
