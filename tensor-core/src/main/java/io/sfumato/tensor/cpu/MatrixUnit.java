// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * Products of f32 matrices on a processor's matrix unit, which multiplies bfloat16.
 *
 * <p>A float is the sum of three bfloat16 of 8 bits each, {@code x = x1 + x2 + x3}, the first two
 * rounded to nearest: {@code |x2| <= 2^-8 |x|}, {@code |x3| <= 2^-16 |x|}. Of the nine products of
 * parts the six with {@code i + j <= 4} are summed up in f32; those left out are at most {@code
 * 2^-23 |x y|} together and 2^-26 of it typically, so a sum is as accurate as one of fused
 * multiply-adds, whose each step rounds by up to 2^-24 of the sum so far.
 *
 * <p>That holds for zero and for absolute values from 2^-103 to 2^127; others are not split, see
 * {@link #split}. Sums below 2^-102 lose relative accuracy, for the unit takes denormal numbers for
 * zero.
 *
 * <p>Both operands are split alike, along what is summed over: a <em>block</em> holds {@value
 * #SIDE} rows of A, or columns of B, by {@value #DEPTH} elements, as three tiles one after the
 * other. A tile has 16 rows of 16 pairs; the pair {@code j} is made of elements {@code j} and
 * {@code j + 16}. Tiles of A have a row for each row of A; those of B have a row for each pair.
 *
 * <p>Source: G. Henry, P. T. P. Tang, A. Heinecke, "Leveraging the bfloat16 Artificial Intelligence
 * Datatype For Higher-Precision Computations" (2019), with six products.
 */
public interface MatrixUnit {
  /** Rows or columns of C that a tile holds. */
  int SIDE = 16;

  /** Elements that a tile sums over. */
  int DEPTH = 32;

  /** Bytes of a block. */
  int BLOCK_BYTES = 3 << 10;

  /** Bytes between slabs of A. */
  int HEADER_BYTES = 64;

  /**
   * Splits floats, block after block: of row r of a block, 16 floats at {@code from + r * step} and
   * as many at {@code from + second + r * step} give row r of its tiles, in pairs. All distances
   * are in bytes.
   *
   * @param blocks the number of blocks, at least 1
   * @param rows the rows of each, 1 to {@value #SIDE}; others are left as they are
   * @param from address of the first value
   * @param second from the first value of a pair to the second
   * @param step from one row to the next
   * @param blockStep from one block to the next
   * @param to address of the first block
   * @param toStep from there to the next
   * @param lanes how many of the first values of a row there are; zero stands for the others, which
   *     are not read
   * @param secondLanes how many of the second values there are
   * @return whether all values are zero, or at least 2^-103 and less than 2^127
   */
  boolean split(
      int blocks,
      int rows,
      long from,
      long second,
      long step,
      long blockStep,
      long to,
      long toStep,
      int lanes,
      int secondLanes);

  /**
   * Multiplies slabs of A, {@value #SIDE} rows each, by panels of B, {@value #SIDE} columns each:
   * {@code C = D + A B} or {@code C = A B}. Nothing is checked.
   *
   * @param slabs the number of slabs, at least 1; they lie {@value #HEADER_BYTES} bytes apart
   * @param panels the number of panels, at least 1
   * @param steps blocks along what is summed over, at least 1
   * @param a address of the blocks of the first slab
   * @param b address of the blocks of the first panel
   * @param panelBytes from there to those of the next
   * @param d address of D, or 0
   * @param rowD bytes from one row of D to the next; 0 repeats one row
   * @param c address of C, which may be D
   * @param rowC bytes from one row of C to the next
   */
  void multiply(
      int slabs,
      int panels,
      int steps,
      long a,
      long b,
      long panelBytes,
      long d,
      long rowD,
      long c,
      long rowC);
}
