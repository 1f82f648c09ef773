// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import io.sfumato.tensor.cpu.GemmTile;
import io.sfumato.tensor.cpu.MatrixUnit;
import io.sfumato.tensor.cpu.Setting;
import io.sfumato.tensor.cpu.machine.LinuxMemory;
import io.sfumato.tensor.cpu.machine.TileCode;
import java.lang.System.Logger.Level;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * {@link GemmTile} by machine code ({@link TileCode}), on Linux and x86-64 with AVX-512. It is fast
 * from its first call on, and gives the same bits as {@link VectorGemmTile}, which still copies and
 * transposes.
 *
 * <p>A call takes some nanoseconds, for it goes without the JVM's changes of state ({@link
 * Linker.Option#critical}); a garbage collection waits for its end, some microseconds.
 */
final class AssembledTile implements GemmTile {
  /** The system property that decides whether code is made: {@code on} (the default) or off. */
  static final String PROPERTY = "sfumato.machine.code";

  private static final int ROWS = TileCode.MAX_ROWS;
  private static final int VECTORS = TileCode.MAX_VECTORS;

  // The forms of a tile: either, both or none of these.
  private static final int ADJACENT = 1;
  private static final int SUM = 2;
  private static final int FORMS = 4;

  /** From so many columns on it pays to rearrange the rows. */
  private static final int SLAB_COLUMNS = 256;

  private final GemmTile vectors;
  private final @Nullable MatrixUnit unit;

  /** Where the code for each number of rows, vectors and form begins. */
  private final MemorySegment[] entries;

  /**
   * Makes the code, some 100 KB.
   *
   * @throws RuntimeException if the system does not allow that
   * @throws LinkageError likewise
   */
  private AssembledTile(GemmTile vectors, boolean withUnit) {
    this.vectors = vectors;
    unit = withUnit ? AmxUnit.find() : null;
    List<byte[]> functions = new ArrayList<>();
    for (int i = 0; i < ROWS * VECTORS * FORMS; i++) {
      int form = i % FORMS;
      int tile = i / FORMS;
      functions.add(
          TileCode.of(
              tile / VECTORS + 1, tile % VECTORS + 1, (form & ADJACENT) != 0, (form & SUM) != 0));
    }
    entries = LinuxMemory.load(functions).toArray(MemorySegment[]::new);
  }

  /** Apart, for it fails where native access is not allowed. */
  private static final class Native {
    private static final ValueLayout.OfLong W = ValueLayout.JAVA_LONG;

    static final MethodHandle CALL =
        LinuxMemory.caller(FunctionDescriptor.ofVoid(W, W, W, W, W, W, W, W, W, W));
  }

  /**
   * Tiles by machine code, or null where there are none: on another processor or system, or, with a
   * line in the log, where the system lets no program make code.
   *
   * @param vectors tiles that copy and transpose
   * @param setting the value of {@link #PROPERTY}, or null
   * @param unitSetting the value of {@link AmxUnit#PROPERTY}, or null
   * @throws IllegalArgumentException if a setting is neither {@code on} nor {@code off}, or is on
   *     where that cannot be
   */
  static @Nullable AssembledTile of(
      GemmTile vectors, @Nullable String setting, @Nullable String unitSetting) {
    boolean withUnit = !Setting.isOff(AmxUnit.PROPERTY, unitSetting);
    AssembledTile tile = Setting.isOff(PROPERTY, setting) ? null : make(vectors, setting, withUnit);
    if ("on".equals(unitSetting) && (tile == null || tile.unit == null)) {
      throw new IllegalArgumentException(
          "system property "
              + AmxUnit.PROPERTY
              + " is on, but "
              + (tile == null
                  ? "no machine code is made"
                  : "this processor has no AMX with bfloat16, or the system does not give it"));
    }
    return tile;
  }

  private static @Nullable AssembledTile make(
      GemmTile vectors, @Nullable String setting, boolean withUnit) {
    String obstacle = "it is made on Linux, for x86-64 with AVX-512";
    if (isKnown(vectors)) {
      try {
        return new AssembledTile(vectors, withUnit);
      } catch (UnsupportedOperationException e) {
        obstacle = String.valueOf(e.getMessage());
      } catch (RuntimeException | LinkageError e) { // no native access
        obstacle = String.valueOf(e.getCause() == null ? e : e.getCause());
      }
      if (setting == null) {
        System.getLogger(AssembledTile.class.getName())
            .log(
                Level.INFO,
                "no loops of machine code, which costs some speed: {0} (-D{1}=off silences this)",
                obstacle,
                PROPERTY);
      }
    }
    if (setting != null) {
      throw new IllegalArgumentException(
          "system property " + PROPERTY + " is on, but no code can be made: " + obstacle);
    }
    return null;
  }

  private static boolean isKnown(GemmTile vectors) {
    return VectorGemmTile.X86
        && vectors.lanes() == TileCode.LANES
        && System.getProperty("os.name", "").toLowerCase(Locale.ROOT).contains("linux");
  }

  @Override
  public int maxRows() {
    return ROWS;
  }

  @Override
  public int nextRows(int left) {
    return left >= 2 * ROWS ? ROWS : left <= ROWS ? left : (left + 1) / 2;
  }

  @Override
  public int lanes() {
    return TileCode.LANES;
  }

  @Override
  public int maxVectors() {
    return VECTORS;
  }

  @Override
  public @Nullable MatrixUnit unit() {
    return unit;
  }

  @Override
  public int slabColumns() {
    return SLAB_COLUMNS;
  }

  @Override
  public int packColumns(int k, long a, long rowStrideA, long slab) {
    int whole = k / TransposeVectors.SIDE * TransposeVectors.SIDE;
    TransposeVectors.transpose(whole, ROWS, 1f, a, 4 * rowStrideA, slab, 4 * ROWS);
    return whole;
  }

  @Override
  public int transposeColumns(
      int k, int columns, float scale, long from, long fromStride, long to, long toStride) {
    return vectors.transposeColumns(k, columns, scale, from, fromStride, to, toStride);
  }

  private MemorySegment entry(int rows, int count, long rowStrideA, int form) {
    int adjacent = rowStrideA == 1 ? ADJACENT : 0;
    return entries[((rows - 1) * VECTORS + count - 1) * FORMS + adjacent + form];
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
    MemorySegment entry = entry(rows, vectors, rowStrideA, 0);
    run(entry, k, a, rowStrideA, colStrideA, b, ldb, 0, 0, c, ldc);
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
    MemorySegment entry = entry(rows, vectors, rowStrideA, SUM);
    run(entry, k, a, rowStrideA, colStrideA, b, ldb, d, ldd, c, ldc);
  }

  private static void run(
      MemorySegment entry,
      int k,
      long a,
      long rowA,
      long columnA,
      long b,
      long rowB,
      long d,
      long rowD,
      long c,
      long rowC) {
    try {
      Native.CALL.invokeExact(
          entry, (long) k, a, 4 * rowA, 4 * columnA, b, 4 * rowB, d, 4 * rowD, c, 4 * rowC);
    } catch (Throwable e) { // declared, and thrown by nothing here
      throw new AssertionError(e);
    }
  }

  @Override
  public void copyRows(int rows, int n, long from, long fromStride, long to, long toStride) {
    vectors.copyRows(rows, n, from, fromStride, to, toStride);
  }

  @Override
  public void addRows(int rows, int n, long from, long fromStride, long to, long toStride) {
    vectors.addRows(rows, n, from, fromStride, to, toStride);
  }
}
