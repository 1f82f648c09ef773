// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Raw access to native memory by absolute address. Every hot kernel sees native memory through the
 * one segment {@link #ALL}: a kernel that meets both heap and native segments compiles to code four
 * to six times slower.
 *
 * <p>Nothing here checks bounds; callers are kernels whose operands were checked before.
 */
public final class Memory {
  /** The whole address space as one segment. */
  public static final MemorySegment ALL = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);

  /**
   * The bits that the address of a tensor can have, and more than any system uses. The compiler
   * sees that {@code (base & BASE) + offset} lies within {@link #ALL} for as far as it knows the
   * offset, and leaves the check out. With its check an access is some fifty nodes to the compiler,
   * a loop is split in two that begin with twenty instructions for each operand, and neither is
   * unrolled.
   */
  public static final long BASE = (1L << 60) - 1;

  private static final long ADDRESS = (1L << 62) - 1;

  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
  private static final ValueLayout.OfDouble DOUBLE = ValueLayout.JAVA_DOUBLE_UNALIGNED;
  private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED;
  private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED;
  private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED;

  private Memory() {}

  /**
   * {@code base + offset}, so that the compiler knows that it lies within {@link #ALL}. In a loop,
   * what does not change belongs into the base: what is masked of it is then taken out of the loop.
   */
  public static long at(long base, long offset) {
    return ((base & BASE) + offset) & ADDRESS;
  }

  /** The float at {@code address}. */
  public static float getFloat(long address) {
    return ALL.get(FLOAT, address);
  }

  /** Stores a float at {@code address}. */
  public static void putFloat(long address, float value) {
    ALL.set(FLOAT, address, value);
  }

  /** The double at {@code address}. */
  public static double getDouble(long address) {
    return ALL.get(DOUBLE, address);
  }

  /** Stores a double at {@code address}. */
  public static void putDouble(long address, double value) {
    ALL.set(DOUBLE, address, value);
  }

  /** The int at {@code address}. */
  public static int getInt(long address) {
    return ALL.get(INT, address);
  }

  /** Stores an int at {@code address}. */
  public static void putInt(long address, int value) {
    ALL.set(INT, address, value);
  }

  /** The long at {@code address}. */
  public static long getLong(long address) {
    return ALL.get(LONG, address);
  }

  /** Stores a long at {@code address}. */
  public static void putLong(long address, long value) {
    ALL.set(LONG, address, value);
  }

  /** The short at {@code address}. */
  public static short getShort(long address) {
    return ALL.get(SHORT, address);
  }

  /** Stores a short at {@code address}. */
  public static void putShort(long address, short value) {
    ALL.set(SHORT, address, value);
  }

  /** The byte at {@code address}. */
  public static byte getByte(long address) {
    return ALL.get(ValueLayout.JAVA_BYTE, address);
  }

  /** Stores a byte at {@code address}. */
  public static void putByte(long address, byte value) {
    ALL.set(ValueLayout.JAVA_BYTE, address, value);
  }

  /** Copies {@code bytes} bytes from {@code from} to {@code to}; the ranges may overlap. */
  public static void copy(long from, long to, long bytes) {
    MemorySegment.copy(ALL, from, ALL, to, bytes);
  }

  /** Sets {@code bytes} bytes from {@code address} on to zero. */
  public static void zero(long address, long bytes) {
    ALL.asSlice(address, bytes).fill((byte) 0);
  }
}
