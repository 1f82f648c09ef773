// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * Products of bfloat16 on a processor's matrix unit, and what rearranges their operands. Sums are
 * f32; denormal numbers are taken for zero.
 *
 * <p>Both operands are read in tiles along what is summed over, {@value MatrixUnit#DEPTH} elements
 * at a time. A tile has 16 rows of 16 pairs, each of two neighbours: those of A have a row for each
 * row of A, so a matrix whose rows are contiguous is read where it lies; those of B have a row for
 * each pair and in it a pair for each column. All distances are in bytes.
 */
public interface HalfUnit {
  /**
   * Copies rows of up to 32 elements, block after block, to rows {@value MatrixUnit#ROW_BYTES}
   * bytes apart, which are filled up with zeros.
   *
   * @param blocks the number of blocks, at least 1
   * @param rows the rows of each, at least 1
   * @param from address of the first element
   * @param step from one row to the next
   * @param blockStep from one block to the next
   * @param to address of the first block of the result
   * @param toStep from there to the next
   * @param lanes elements of a row
   */
  void rows(
      int blocks, int rows, long from, long step, long blockStep, long to, long toStep, int lanes);

  /**
   * Pairs rows of up to 16 elements, block after block: element j of the rows at {@code from + r *
   * step} and {@code second} behind it become pair j of row r, {@value MatrixUnit#ROW_BYTES} bytes
   * from the row before.
   *
   * @param blocks the number of blocks, at least 1
   * @param rows the rows of each, at least 1
   * @param from address of the first element
   * @param second from the first element of a pair to the second
   * @param step from one row of pairs to the next
   * @param blockStep from one block to the next
   * @param to address of the first block of the result
   * @param toStep from there to the next
   * @param lanes how many first elements of pairs a row has; zero stands for the others, which are
   *     not read
   * @param secondLanes how many second elements
   * @param ahead from elements to others, anywhere, that are asked for from memory by the way
   */
  void pairs(
      int blocks,
      int rows,
      long from,
      long second,
      long step,
      long blockStep,
      long to,
      long toStep,
      int lanes,
      int secondLanes,
      long ahead);

  /**
   * Splits rows of floats in two parts, {@code x = x1 + x2} up to 2^-17 of x: rows of up to 16
   * floats and as many {@code second} behind them become rows of a tile of each part, filled up
   * with zeros, block after block. The first part is rounded to nearest, halves away from zero, the
   * second to nearest, ties to even; denormal numbers become zero, and an infinity has a part that
   * is NaN.
   *
   * @param blocks the number of blocks, at least 1
   * @param rows the rows of each, at least 1
   * @param from address of the first float
   * @param second from the first float of a row to the seventeenth
   * @param step from one row to the next
   * @param blockStep from one block to the next
   * @param to address of the first part of the first block
   * @param toStep from there to the next block
   * @param part from a part to the next
   * @param lanes how many of the first 16 floats of a row there are
   * @param secondLanes how many of the others
   */
  void splitRows(
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
      int secondLanes);

  /** The same of rows of pairs, of which {@code second} is the second row. */
  void splitPairs(
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
      int secondLanes);

  /**
   * As {@link MatrixUnit#exponentials}, rounded to tiles of bfloat16, of which neighbours are
   * pairs: to nearest, ties to even.
   */
  void halfExponentials(
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
   * Transposes blocks of 16 rows of pairs: pair j of row r becomes pair r of row j. Rows of the
   * result are {@value MatrixUnit#ROW_BYTES} bytes apart.
   *
   * @param blocks the number of blocks, at least 1
   * @param from address of the first element
   * @param step from one row to the next
   * @param blockStep from one block to the next
   * @param to address of the first block of the result
   * @param toStep from there to the next
   * @param lanes elements of a row, up to 32; zero stands for the others, which are not read
   */
  void transpose(int blocks, long from, long step, long blockStep, long to, long toStep, int lanes);

  /**
   * Multiplies slabs of A, {@value MatrixUnit#SIDE} rows each, by panels of B, {@value
   * MatrixUnit#SIDE} columns each; see {@link MatrixUnit#multiply} for tables and sums.
   *
   * @param slabs the number of slabs, at least 1
   * @param slabTable address of their table
   * @param steps the number of steps, at least 1
   * @param stepTable address of their table
   * @param rowA from one row of a tile of A to the next
   * @param panels the number of panels, at least 1
   * @param b address of the first panel
   * @param panelBytes from there to the next
   * @param start where sums start: at nothing (0), at what is in C ({@link MatrixUnit#ADD}), or at
   *     a row for all, whose address this is
   * @param rowC from one row of C to the next; panels follow one another in it
   */
  void multiplyHalves(
      int slabs,
      long slabTable,
      int steps,
      long stepTable,
      long rowA,
      int panels,
      long b,
      long panelBytes,
      long start,
      long rowC);
}
