// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.Memory.ALL;

import io.sfumato.tensor.cpu.GemmTile;
import io.sfumato.tensor.cpu.Memory;
import io.sfumato.tensor.cpu.Scratch;
import java.nio.ByteOrder;
import java.util.Set;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;
import org.jspecify.annotations.Nullable;

/**
 * {@link GemmTile} over the Vector API. The unrolled loops are in the generated classes {@link
 * Tile6Known} to {@link Tile1Accumulate}.
 */
final class VectorGemmTile implements GemmTile {
  private static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_PREFERRED;
  private static final int LANES = SPECIES.length();
  private static final long BYTES = SPECIES.vectorByteSize();
  private static final ByteOrder ORDER = ByteOrder.nativeOrder();

  static final long PITCH_BYTES = 4L * (PITCHED_COLUMNS + LANES);

  /**
   * The system property that sets how many vector registers tiles count on, 16 or 32; these tiles
   * then serve, and no machine code is made.
   */
  static final String REGISTERS = "sfumato.vector.registers";

  static final boolean X86 = Set.of("amd64", "x86_64").contains(System.getProperty("os.arch", ""));

  private static final int ROWS = 6;

  /** The rows of A that tiles go through together are at most so many floats apart. */
  private static final long FAR = Integer.MAX_VALUE / (4L * ROWS);

  /** From so many columns on the faster loops over slabs make up for rearranging the rows. */
  private static final int SLAB_COLUMNS = 256;

  /** Whether sums fill most of 32 registers, as 6 x 4 vectors, or of 16, as 6 x 2. */
  private final boolean many;

  private VectorGemmTile(boolean many) {
    this.many = many;
  }

  /**
   * Tiles for this processor. AVX-512 has 32 registers, AVX2 has 16; AArch64 and the other
   * processors whose vectors the JVM uses have 32 or more.
   *
   * @param registers the value of {@link #REGISTERS}, or null for as many as there are
   */
  static VectorGemmTile of(@Nullable String registers) {
    if (registers != null && !registers.equals("16") && !registers.equals("32")) {
      throw new IllegalArgumentException(
          "system property " + REGISTERS + " must be 16 or 32; got " + registers);
    }
    return new VectorGemmTile(registers == null ? !X86 || LANES == 16 : registers.equals("32"));
  }

  @Override
  public int maxRows() {
    return ROWS;
  }

  @Override
  public int nextRows(int left) {
    if (left >= ROWS) {
      // two rows take as long as four: too few sums at a time to fill the pipes
      return left == ROWS + 2 ? 4 : ROWS;
    }
    return left >= 4 ? 4 : left >= 2 ? 2 : 1;
  }

  @Override
  public int slabColumns() {
    return many ? SLAB_COLUMNS : Integer.MAX_VALUE;
  }

  @Override
  public int lanes() {
    return LANES;
  }

  @Override
  public int maxVectors() {
    return many ? 4 : 2;
  }

  @Override
  public int packColumns(int k, long a, long rowStrideA, long slab) {
    if (!many || LANES != SlabVectors.COLUMNS) {
      return 0;
    }
    int whole = k / SlabVectors.COLUMNS * SlabVectors.COLUMNS;
    SlabVectors.pack(whole, a, 4 * rowStrideA, slab);
    return whole;
  }

  @Override
  public int transposeColumns(
      int k, int columns, float scale, long from, long fromStride, long to, long toStride) {
    boolean nine = columns == TransposeVectors.NINE && toStride == columns;
    int block = nine ? columns : TransposeVectors.SIDE;
    if (LANES != TransposeVectors.SIDE || columns < block) {
      return 0;
    }
    int whole = k / LANES * LANES;
    for (int i = 0; i + block <= columns; i += block) {
      long rows = from + 4L * i * fromStride;
      TransposeVectors.transpose(
          whole, block, scale, rows, 4 * fromStride, to + 4L * i, 4 * toStride);
    }
    return whole;
  }

  @Override
  public void store(
      int rows,
      int vectors,
      int k,
      long a,
      long rowStrideA,
      long colStrideA,
      long b,
      long ldb,
      long c,
      long ldc) {
    if (rowStrideA > FAR && rows > 1) {
      for (int r = 0; r < rows; r++) {
        long row = a + 4 * r * rowStrideA;
        store(1, vectors, k, row, 0, colStrideA, b, ldb, c + 4 * r * ldc, ldc);
      }
      return;
    }
    switch (8 * rows + vectors) {
      case 48 + 4 -> {
        if (rowStrideA == 1 && colStrideA == ROWS && ldb == 4 * LANES) {
          Tile6Known.packed(k, a, b, c, ldc);
        } else if (rowStrideA == 1) {
          Tile6Known.adjacent(k, a, colStrideA, b, ldb, c, ldc);
        } else if (colStrideA == 1 && 4 * rowStrideA == PITCH_BYTES) {
          Tile6Known.pitched(k, a, b, ldb, c, ldc);
        } else {
          Tile6Store.tile4(k, a, rowStrideA, colStrideA, b, ldb, c, ldc);
        }
      }
      case 48 + 3 -> Tile6Store.tile3(k, a, rowStrideA, colStrideA, b, ldb, c, ldc);
      case 48 + 2 -> Tile6Store.tile2(k, a, rowStrideA, colStrideA, b, ldb, c, ldc);
      case 48 + 1 -> Tile6Store.tile1(k, a, rowStrideA, colStrideA, b, ldb, c, ldc);
      case 32 + 4 -> Tile4Store.tile4(k, a, rowStrideA, colStrideA, b, ldb, c, ldc);
      case 32 + 3 -> Tile4Store.tile3(k, a, rowStrideA, colStrideA, b, ldb, c, ldc);
      case 32 + 2 -> Tile4Store.tile2(k, a, rowStrideA, colStrideA, b, ldb, c, ldc);
      case 32 + 1 -> Tile4Store.tile1(k, a, rowStrideA, colStrideA, b, ldb, c, ldc);
      case 16 + 4 -> Tile2Store.tile4(k, a, rowStrideA, colStrideA, b, ldb, c, ldc);
      case 16 + 3 -> Tile2Store.tile3(k, a, rowStrideA, colStrideA, b, ldb, c, ldc);
      case 16 + 2 -> Tile2Store.tile2(k, a, rowStrideA, colStrideA, b, ldb, c, ldc);
      case 16 + 1 -> Tile2Store.tile1(k, a, rowStrideA, colStrideA, b, ldb, c, ldc);
      case 8 + 4 -> Tile1Store.tile4(k, a, rowStrideA, colStrideA, b, ldb, c, ldc);
      case 8 + 3 -> Tile1Store.tile3(k, a, rowStrideA, colStrideA, b, ldb, c, ldc);
      case 8 + 2 -> Tile1Store.tile2(k, a, rowStrideA, colStrideA, b, ldb, c, ldc);
      case 8 + 1 -> Tile1Store.tile1(k, a, rowStrideA, colStrideA, b, ldb, c, ldc);
      default -> throw unknown(rows, vectors);
    }
  }

  @Override
  public void sum(
      int rows,
      int vectors,
      int k,
      long a,
      long rowStrideA,
      long colStrideA,
      long b,
      long ldb,
      long d,
      long ldd,
      long c,
      long ldc) {
    if (rowStrideA > FAR && rows > 1) {
      for (int r = 0; r < rows; r++) {
        long row = a + 4 * r * rowStrideA;
        long addends = d + 4 * r * ldd;
        sum(1, vectors, k, row, 0, colStrideA, b, ldb, addends, ldd, c + 4 * r * ldc, ldc);
      }
      return;
    }
    switch (8 * rows + vectors) {
      case 48 + 4, 48 + 3 -> {
        int width = vectors * LANES;
        long sums = Scratch.get(Scratch.Slot.SUMS, 4L * rows * width);
        store(rows, vectors, k, a, rowStrideA, colStrideA, b, ldb, sums, width);
        add(rows, width, sums, width, d, ldd, c, ldc);
      }
      case 48 + 2 -> Tile6Accumulate.tile2(k, a, rowStrideA, colStrideA, b, ldb, d, ldd, c, ldc);
      case 48 + 1 -> Tile6Accumulate.tile1(k, a, rowStrideA, colStrideA, b, ldb, d, ldd, c, ldc);
      case 32 + 4 -> Tile4Accumulate.tile4(k, a, rowStrideA, colStrideA, b, ldb, d, ldd, c, ldc);
      case 32 + 3 -> Tile4Accumulate.tile3(k, a, rowStrideA, colStrideA, b, ldb, d, ldd, c, ldc);
      case 32 + 2 -> Tile4Accumulate.tile2(k, a, rowStrideA, colStrideA, b, ldb, d, ldd, c, ldc);
      case 32 + 1 -> Tile4Accumulate.tile1(k, a, rowStrideA, colStrideA, b, ldb, d, ldd, c, ldc);
      case 16 + 4 -> Tile2Accumulate.tile4(k, a, rowStrideA, colStrideA, b, ldb, d, ldd, c, ldc);
      case 16 + 3 -> Tile2Accumulate.tile3(k, a, rowStrideA, colStrideA, b, ldb, d, ldd, c, ldc);
      case 16 + 2 -> Tile2Accumulate.tile2(k, a, rowStrideA, colStrideA, b, ldb, d, ldd, c, ldc);
      case 16 + 1 -> Tile2Accumulate.tile1(k, a, rowStrideA, colStrideA, b, ldb, d, ldd, c, ldc);
      case 8 + 4 -> Tile1Accumulate.tile4(k, a, rowStrideA, colStrideA, b, ldb, d, ldd, c, ldc);
      case 8 + 3 -> Tile1Accumulate.tile3(k, a, rowStrideA, colStrideA, b, ldb, d, ldd, c, ldc);
      case 8 + 2 -> Tile1Accumulate.tile2(k, a, rowStrideA, colStrideA, b, ldb, d, ldd, c, ldc);
      case 8 + 1 -> Tile1Accumulate.tile1(k, a, rowStrideA, colStrideA, b, ldb, d, ldd, c, ldc);
      default -> throw unknown(rows, vectors);
    }
  }

  @Override
  public void copyRows(int rows, int n, long from, long fromStride, long to, long toStride) {
    long whole = n / LANES * BYTES;
    long end = 4L * n;
    for (int r = 0; r < rows; r++) {
      for (long i = 0; i < whole; i += BYTES) {
        FloatVector.fromMemorySegment(SPECIES, ALL, Memory.at(from, i), ORDER)
            .intoMemorySegment(ALL, Memory.at(to, i), ORDER);
      }
      for (long i = whole; i < end; i += 4) {
        Memory.putFloat(to + i, Memory.getFloat(from + i));
      }
      from += 4 * fromStride;
      to += 4 * toStride;
    }
  }

  @Override
  public void addRows(int rows, int n, long from, long fromStride, long to, long toStride) {
    add(rows, n, from, fromStride, to, toStride, to, toStride);
  }

  /** {@code to[r, j] = y[r, j] + x[r, j]}; y may be the result. */
  private static void add(
      int rows, int n, long x, long xStride, long y, long yStride, long to, long toStride) {
    long whole = n / LANES * BYTES;
    long end = 4L * n;
    for (int r = 0; r < rows; r++) {
      for (long i = 0; i < whole; i += BYTES) {
        FloatVector.fromMemorySegment(SPECIES, ALL, Memory.at(y, i), ORDER)
            .add(FloatVector.fromMemorySegment(SPECIES, ALL, Memory.at(x, i), ORDER))
            .intoMemorySegment(ALL, Memory.at(to, i), ORDER);
      }
      for (long i = whole; i < end; i += 4) {
        Memory.putFloat(to + i, Memory.getFloat(y + i) + Memory.getFloat(x + i));
      }
      x += 4 * xStride;
      y += 4 * yStride;
      to += 4 * toStride;
    }
  }

  private static IllegalArgumentException unknown(int rows, int vectors) {
    return new IllegalArgumentException("no tile of " + rows + " rows by " + vectors + " vectors");
  }
}
