// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import io.sfumato.tensor.cpu.MatrixUnit;
import io.sfumato.tensor.cpu.machine.HalfRowsCode;
import io.sfumato.tensor.cpu.machine.LinuxMemory;
import io.sfumato.tensor.cpu.machine.MatrixUnitCode;
import io.sfumato.tensor.cpu.machine.ProductCode;
import java.lang.System.Logger.Level;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * {@link MatrixUnit} by AMX, on Linux and Intel processors since Sapphire Rapids (2023).
 *
 * <p>A call goes without the JVM's changes of state ({@link Linker.Option#critical}); a garbage
 * collection waits for its end, some milliseconds for the largest blocks. The unit is given back at
 * the end of each call, so that a thread's state stays small between them.
 */
final class AmxUnit implements MatrixUnit {
  /** The system property that decides whether it is used: {@code on} (the default) or off. */
  static final String PROPERTY = "sfumato.matrix.unit";

  private static final ValueLayout.OfLong W = ValueLayout.JAVA_LONG;

  // Leaf 7 of CPUID: EDX, which is above EAX, of subleaf 0, and EAX of subleaf 1.
  private static final long FEATURES = 7;
  private static final long AMX = (1L << 24 | 1L << 22) << Integer.SIZE;
  private static final long BFLOAT16 = 1 << 5;

  // The system gives the unit to processes that ask for it.
  private static final int ARCH_PRCTL = 158;
  private static final int REQUEST_PERMISSION = 0x1023;
  private static final int TILE_DATA = 18;

  private final MemorySegment split;
  private final MemorySegment multiply;
  private final MemorySegment exponentials;
  private final MemorySegment rows;
  private final MemorySegment pairs;
  private final MemorySegment transpose;
  private final MemorySegment halves;
  private final MemorySegment splitRows;
  private final MemorySegment splitPairs;
  private final MemorySegment halfExponentials;
  private final long configuration;

  /** Apart, for it fails where native access is not allowed. */
  private static final class Native {
    static final MethodHandle SPLIT =
        LinuxMemory.caller(FunctionDescriptor.of(W, W, W, W, W, W, W, W, W, W, W, W, W));
    static final MethodHandle EXPONENTIALS =
        LinuxMemory.caller(FunctionDescriptor.ofVoid(W, W, W, W, W, W, W, W, W));
    static final MethodHandle MULTIPLY =
        LinuxMemory.caller(FunctionDescriptor.ofVoid(W, W, W, W, W, W, W, W, W, W, W, W, W));
    static final MethodHandle ROWS =
        LinuxMemory.caller(FunctionDescriptor.ofVoid(W, W, W, W, W, W, W, W));
    static final MethodHandle TRANSPOSE =
        LinuxMemory.caller(FunctionDescriptor.ofVoid(W, W, W, W, W, W, W));
    static final MethodHandle ELEVEN =
        LinuxMemory.caller(FunctionDescriptor.ofVoid(W, W, W, W, W, W, W, W, W, W, W));
    static final MethodHandle CPUID = LinuxMemory.caller(FunctionDescriptor.of(W, W, W));
    static final MethodHandle CALL = LinuxMemory.caller(FunctionDescriptor.of(W, W, W, W));
  }

  private AmxUnit(List<MemorySegment> entries) {
    split = entries.get(2);
    multiply = entries.get(3);
    exponentials = entries.get(4);
    rows = entries.get(5);
    pairs = entries.get(6);
    transpose = entries.get(7);
    halves = entries.get(8);
    splitRows = entries.get(9);
    splitPairs = entries.get(10);
    halfExponentials = entries.get(11);
    // palette 1; eight tiles of 16 rows of 64 bytes
    MemorySegment tiles = Arena.global().allocate(64, 64);
    tiles.set(ValueLayout.JAVA_BYTE, 0, (byte) 1);
    for (int i = 0; i < 8; i++) {
      tiles.set(ValueLayout.JAVA_SHORT, 16 + 2 * i, (short) 64);
      tiles.set(ValueLayout.JAVA_BYTE, 48 + i, (byte) SIDE);
    }
    configuration = tiles.address();
  }

  /**
   * The unit, or null if the processor has none or the system does not give it, which is said in
   * the log.
   *
   * @throws RuntimeException if the system lets no program make code
   * @throws LinkageError likewise
   */
  static @Nullable AmxUnit find() {
    List<MemorySegment> entries =
        LinuxMemory.load(
            List.of(
                MatrixUnitCode.cpuid(),
                MatrixUnitCode.systemCall(),
                MatrixUnitCode.split(),
                ProductCode.parts(),
                MatrixUnitCode.exponentials(),
                HalfRowsCode.rows(),
                HalfRowsCode.pairs(),
                HalfRowsCode.transpose(),
                ProductCode.halves(),
                HalfRowsCode.splitRows(),
                HalfRowsCode.splitPairs(),
                MatrixUnitCode.halfExponentials()));
    try {
      long features = (long) Native.CPUID.invokeExact(entries.get(0), FEATURES, 0L);
      long more = (long) Native.CPUID.invokeExact(entries.get(0), FEATURES, 1L);
      if ((features & AMX) != AMX || (more & BFLOAT16) == 0) {
        return null;
      }
      long refused =
          (long)
              Native.CALL.invokeExact(
                  entries.get(1), (long) ARCH_PRCTL, (long) REQUEST_PERMISSION, (long) TILE_DATA);
      if (refused != 0) {
        System.getLogger(AmxUnit.class.getName())
            .log(
                Level.INFO,
                "this processor''s matrix unit (AMX) is not used, which costs some speed: the"
                    + " system does not give it, error {0} (-D{1}=off silences this)",
                -refused,
                PROPERTY);
        return null;
      }
      return new AmxUnit(entries);
    } catch (RuntimeException | LinkageError e) {
      throw e;
    } catch (Throwable e) {
      throw new AssertionError(e);
    }
  }

  @Override
  public boolean split(
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
      long ahead) {
    try {
      long unfit =
          (long)
              Native.SPLIT.invokeExact(
                  split,
                  (long) blocks,
                  (long) rows,
                  from,
                  second,
                  step,
                  blockStep,
                  to,
                  toStep,
                  part,
                  mask(lanes),
                  mask(secondLanes),
                  ahead);
      return unfit == 0;
    } catch (Throwable e) { // declared, and thrown by nothing here
      throw new AssertionError(e);
    }
  }

  @Override
  public void exponentials(
      int blocks,
      int rows,
      long from,
      long step,
      long shifts,
      long sums,
      long to,
      int lanes,
      int secondLanes) {
    exponentials(exponentials, blocks, rows, from, step, shifts, sums, to, lanes, secondLanes);
  }

  @Override
  public void halfExponentials(
      int blocks,
      int rows,
      long from,
      long step,
      long shifts,
      long sums,
      long to,
      int lanes,
      int secondLanes) {
    exponentials(halfExponentials, blocks, rows, from, step, shifts, sums, to, lanes, secondLanes);
  }

  private static void exponentials(
      MemorySegment entry,
      int blocks,
      int rows,
      long from,
      long step,
      long shifts,
      long sums,
      long to,
      int lanes,
      int secondLanes) {
    try {
      Native.EXPONENTIALS.invokeExact(
          entry,
          (long) blocks,
          (long) rows,
          from,
          step,
          shifts,
          sums,
          to,
          mask(lanes),
          mask(secondLanes));
    } catch (Throwable e) { // declared, and thrown by nothing here
      throw new AssertionError(e);
    }
  }

  @Override
  public void multiply(
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
      long rowC) {
    long stepsEnd = stepTable + (long) steps * ENTRY_BYTES;
    try {
      Native.MULTIPLY.invokeExact(
          multiply,
          (long) slabs,
          stepsEnd,
          slabTable,
          stepTable,
          b,
          rowA,
          partA,
          partB,
          (long) panels,
          panelBytes,
          start,
          rowC,
          configuration);
    } catch (Throwable e) { // declared, and thrown by nothing here
      throw new AssertionError(e);
    }
  }

  @Override
  public void rows(
      int blocks, int rows, long from, long step, long blockStep, long to, long toStep, int lanes) {
    try {
      Native.ROWS.invokeExact(
          this.rows, (long) blocks, (long) rows, from, step, blockStep, to, toStep, mask(lanes));
    } catch (Throwable e) { // declared, and thrown by nothing here
      throw new AssertionError(e);
    }
  }

  @Override
  public void pairs(
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
      long ahead) {
    call(
        pairs,
        blocks,
        rows,
        from,
        second,
        step,
        blockStep,
        to,
        toStep,
        mask(lanes),
        mask(secondLanes),
        ahead);
  }

  @Override
  public void splitRows(
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
      int secondLanes) {
    call(
        splitRows,
        blocks,
        rows,
        from,
        second,
        step,
        blockStep,
        to,
        toStep,
        part,
        mask(lanes),
        mask(secondLanes));
  }

  @Override
  public void splitPairs(
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
      int secondLanes) {
    call(
        splitPairs,
        blocks,
        rows,
        from,
        second,
        step,
        blockStep,
        to,
        toStep,
        part,
        mask(lanes),
        mask(secondLanes));
  }

  @Override
  public void transpose(
      int blocks, long from, long step, long blockStep, long to, long toStep, int lanes) {
    try {
      Native.TRANSPOSE.invokeExact(
          transpose, (long) blocks, from, step, blockStep, to, toStep, mask(lanes));
    } catch (Throwable e) { // declared, and thrown by nothing here
      throw new AssertionError(e);
    }
  }

  @Override
  public void multiplyHalves(
      int slabs,
      long slabTable,
      int steps,
      long stepTable,
      long rowA,
      int panels,
      long b,
      long panelBytes,
      long start,
      long rowC) {
    long stepsEnd = stepTable + (long) steps * ENTRY_BYTES;
    call(
        halves,
        slabs,
        stepsEnd,
        slabTable,
        stepTable,
        b,
        rowA,
        panels,
        panelBytes,
        start,
        rowC,
        configuration);
  }

  /** A mask of the first lanes. */
  private static long mask(int lanes) {
    return (1L << lanes) - 1;
  }

  private static void call(
      MemorySegment entry,
      long a,
      long b,
      long c,
      long d,
      long e,
      long f,
      long g,
      long h,
      long i,
      long j,
      long k) {
    try {
      Native.ELEVEN.invokeExact(entry, a, b, c, d, e, f, g, h, i, j, k);
    } catch (Throwable t) { // declared, and thrown by nothing here
      throw new AssertionError(t);
    }
  }
}
