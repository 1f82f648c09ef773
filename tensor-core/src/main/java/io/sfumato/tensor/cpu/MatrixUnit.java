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
 * <p>What is bfloat16 from the start needs no parts, see {@link HalfUnit}.
 *
 * <p>Both operands are split alike, along what is summed over: a <em>block</em> holds {@value
 * #SIDE} rows of A, or columns of B, by {@value #DEPTH} elements, as three tiles one after the
 * other. A tile has 16 rows of 16 pairs; the pair {@code j} is made of elements {@code j} and
 * {@code j + 16}. Tiles of A have a row for each row of A; those of B have a row for each pair.
 *
 * <p>Source: G. Henry, P. T. P. Tang, A. Heinecke, "Leveraging the bfloat16 Artificial Intelligence
 * Datatype For Higher-Precision Computations" (2019), with six products.
 */
public interface MatrixUnit extends HalfUnit {
  /** Rows or columns of C that a tile holds. */
  int SIDE = 16;

  /** Elements that a tile sums over. */
  int DEPTH = 32;

  /** Bytes of a block. */
  int BLOCK_BYTES = 3 << 10;

  /** Bytes of a tile, one part of a block. */
  int TILE_BYTES = 1 << 10;

  /** Bytes of a row of a tile. */
  int ROW_BYTES = 64;

  /** Bytes of an entry in a table. */
  int ENTRY_BYTES = 16;

  /** Sums start at what is in C. */
  long ADD = 1;

  /**
   * Splits floats, block after block: of row r of a block, 16 floats at {@code from + r * step} and
   * as many at {@code from + second + r * step} give row r of each part, in pairs. All distances
   * are in bytes; rows of a part are {@value #ROW_BYTES} apart.
   *
   * <p>A value that cannot be split so gets parts too, and spoils no other. If it is small, what
   * the unit takes for their sum is off by less than 2^-124; if it is large, one of them may be
   * infinite or NaN, as one of an infinity or a NaN always is.
   *
   * @param blocks the number of blocks, at least 1
   * @param rows the rows of each, at least 1
   * @param from address of the first value
   * @param second from the first value of a pair to the second
   * @param step from one row to the next
   * @param blockStep from one block to the next
   * @param to address of the first block
   * @param toStep from there to the next
   * @param part from a part to the next, {@value #TILE_BYTES} in a block of 16 rows
   * @param lanes how many of the first values of a row there are; zero stands for the others, which
   *     are not read
   * @param secondLanes how many of the second values there are
   * @param ahead from values to others, anywhere, that are asked for from memory by the way
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
      long part,
      int lanes,
      int secondLanes,
      long ahead);

  /**
   * Splits the exponentials of rows, as blocks of A of which each row is a row. Values of the first
   * block are 16 floats at {@code from + r * step}, or fewer, and as many behind these 16; the next
   * block begins 32 floats on. Of each {@code e^(x - shift)} is split, by {@link
   * io.sfumato.tensor.cpu.machine.ShortExp}, 0 if it is no normal number.
   *
   * @param blocks the number of blocks, at least 1
   * @param rows the rows of each, at least 1
   * @param from address of the first value
   * @param step bytes from one row to the next
   * @param shifts address of a float for each row; no value is larger, NaN apart
   * @param sums address of 16 floats for each row, to which the exponentials are added, element j
   *     of both halves of a block to number j
   * @param to address of the first block
   * @param lanes how many of the first values of a row there are; the parts of others are 0
   * @param secondLanes how many of the second values there are
   */
  void exponentials(
      int blocks,
      int rows,
      long from,
      long step,
      long shifts,
      long sums,
      long to,
      int lanes,
      int secondLanes);

  /**
   * Multiplies slabs of A, {@value #SIDE} rows each, by panels of B, {@value #SIDE} columns each,
   * as a sum over steps, which are products of one block of A and one of B.
   *
   * <p>Two tables say where they lie. That of the slabs has two addresses for each: where its A
   * begins, and where its C; and one entry more, of which the second is an address to be
   * prefetched. That of the steps has two distances for each: from where A begins to the block of
   * A, and from where the panel begins to the block of B. Nothing is checked.
   *
   * @param slabs the number of slabs, at least 1
   * @param slabTable address of their table
   * @param steps the number of steps, at least 1
   * @param stepTable address of their table
   * @param rowA bytes from one row of a block of A to the next
   * @param partA bytes from one part of a block of A to the next
   * @param panels the number of panels, at least 1
   * @param b address of the first panel
   * @param panelBytes from there to the next
   * @param partB bytes from one part of a block of B to the next
   * @param start where sums start: at nothing (0), at what is in C ({@link #ADD}), or at a row for
   *     all, whose address this is
   * @param rowC bytes from one row of C to the next; panels follow one another in it
   */
  void multiply(
      int slabs,
      long slabTable,
      int steps,
      long stepTable,
      long rowA,
      long partA,
      int panels,
      long b,
      long panelBytes,
      long partB,
      long start,
      long rowC);
}
