// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.driver;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.sfumato.tensor.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * Maps of matrices in device memory for Hopper's unit that copies boxes of them to shared memory
 * (TMA): a kernel's parameter of 128 bytes, made by the driver from version 12.0 on. Source: CUDA
 * Driver API, "Tensor Map Object Management".
 */
public final class TensorMap {
  /** Values of a box along the contiguous axis: 128 bytes, which the swizzle is made for. */
  public static final int BOX = 64;

  private static final int BYTES = 128;
  private static final int ALIGNMENT = 64;
  private static final int FLOAT16 = 6; // CUtensorMapDataType
  private static final int BFLOAT16 = 9;
  private static final int RANK = 2;
  private static final int PLAIN = 0; // CUtensorMapInterleave
  private static final int SWIZZLE_128 = 3; // CUtensorMapSwizzle
  private static final int LINES_OF_L2 = 2; // CUtensorMapL2promotion: 128 bytes
  private static final int ZEROS = 0; // CUtensorMapFloatOOBfill

  private static final MethodHandle ENCODE =
      Driver.bind(
          "cuTensorMapEncodeTiled",
          ADDRESS,
          JAVA_INT,
          JAVA_INT,
          JAVA_LONG,
          ADDRESS,
          ADDRESS,
          ADDRESS,
          ADDRESS,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT,
          JAVA_INT);

  /** Map, lengths of the axes, stride, lengths of the box, steps in it. */
  private static final ThreadLocal<MemorySegment> BUFFER =
      ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(2L * BYTES, ALIGNMENT));

  private static final int DIMS = BYTES;
  private static final int STRIDE = DIMS + 2 * Long.BYTES;
  private static final int BOXES = STRIDE + Long.BYTES;
  private static final int STEPS = BOXES + 2 * Integer.BYTES;

  private TensorMap() {}

  /**
   * The map of a matrix of 16-bit floats, in boxes of {@link #BOX} values by {@code lines}; what a
   * box has outside of the matrix is zero.
   *
   * @param dtype bf16 or f16
   * @param address of the first value, a multiple of 16 bytes
   * @param columns values of a line
   * @param rows lines
   * @param stride values from line to line, a multiple of 8
   * @param lines of a box, at most 256
   * @return the words of the parameter
   * @throws CudaException if the driver refuses
   */
  public static long[] of(
      DType dtype, long address, long columns, long rows, long stride, int lines) {
    MemorySegment m = BUFFER.get();
    m.set(JAVA_LONG, DIMS, columns);
    m.set(JAVA_LONG, DIMS + Long.BYTES, rows);
    m.set(JAVA_LONG, STRIDE, 2 * stride);
    m.set(JAVA_INT, BOXES, BOX);
    m.set(JAVA_INT, BOXES + Integer.BYTES, lines);
    m.set(JAVA_INT, STEPS, 1);
    m.set(JAVA_INT, STEPS + Integer.BYTES, 1);
    try {
      int code =
          (int)
              ENCODE.invokeExact(
                  m,
                  dtype == DType.BF16 ? BFLOAT16 : FLOAT16,
                  RANK,
                  address,
                  m.asSlice(DIMS),
                  m.asSlice(STRIDE),
                  m.asSlice(BOXES),
                  m.asSlice(STEPS),
                  PLAIN,
                  SWIZZLE_128,
                  LINES_OF_L2,
                  ZEROS);
      Driver.check(code, "cuTensorMapEncodeTiled");
    } catch (Throwable t) {
      throw Driver.rethrown(t);
    }
    return m.asSlice(0, BYTES).toArray(ValueLayout.JAVA_LONG);
  }
}
