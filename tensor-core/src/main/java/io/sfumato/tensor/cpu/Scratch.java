// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * Work space of CPU kernels: native buffers, 64-byte aligned, that belong to a thread and only
 * grow.
 *
 * <p>A kernel that shares a buffer among workers takes it from the thread that starts the loop and
 * hands the address to the workers; so two threads may start loops at the same moment. The memory
 * is given back some time after its thread ended.
 */
public final class Scratch {
  private static final long ALIGNMENT = 64;
  private static final long GRANULE = 4096;
  private static final ThreadLocal<Scratch> OF_THREAD = ThreadLocal.withInitial(Scratch::new);

  private final @Nullable MemorySegment[] buffers =
      new @Nullable MemorySegment[Slot.values().length];

  private Scratch() {}

  /** The buffers a thread has; one use each, so that nested kernels do not meet. */
  public enum Slot {
    /** One tile of a matrix product. */
    TILE,
    /** The sums of a tile before they are added to what precedes them. */
    SUMS,
    /** What a worker computes of a result that is rounded to 16 bits. */
    RESULT,
    /** Operands of an op as floats, of some elements of a batch. */
    PIECES,
    /** A block of an operand of 16 bits as floats. */
    WIDENED,
    /** A block of the left operand of 16 bits as floats, beside one of the right. */
    WIDENED_ROWS,
    /** Where the operands of a matrix unit lie. */
    TABLE,
    /** The steps of a matrix unit, shared by the workers. */
    STEPS,
    /** The left operand of a matrix product, rearranged. */
    PACKED_A,
    /** The right operand of a matrix product, rearranged. */
    PACKED_B,
    /** The weights of a convolution, rearranged. */
    WEIGHTS,
    /** The gradients of a convolution's output, rearranged. */
    GRADIENTS,
    /** Input pixels of a convolution with their zero border. */
    PIXELS,
    /** Unfolded input pixels of a convolution. */
    COLUMNS,
    /** Transformed input, or input and gradient, of a Winograd convolution. */
    TRANSFORMED,
    /** Products of a Winograd convolution before they are transformed back. */
    TRANSFORMED_OUTPUT,
    /** Factors and sums of products of low rank. */
    LOW_RANK,
    /** A codebook, rearranged, and what is known of its codes. */
    CODES,
    /** Partial sums that are reduced in a fixed order. */
    PARTIAL_SUMS,
    /** One row of a kernel that works row by row. */
    ROW,
    /** Per-channel or per-column parameters, shared by the workers of one kernel. */
    PARAMETERS,
    /** Keys, values and sums of attention that workers share. */
    ATTENTION_SHARED,
    /** Blocks of scores and outputs of attention, of one worker. */
    ATTENTION_BLOCK
  }

  /**
   * The calling thread's buffer {@code slot}, at least {@code bytes} long, contents unspecified.
   * Valid until the same thread asks for the same slot again.
   *
   * @return the address, a multiple of 64
   */
  public static long get(Slot slot, long bytes) {
    return OF_THREAD.get().buffer(slot.ordinal(), bytes);
  }

  private long buffer(int slot, long bytes) {
    MemorySegment buffer = buffers[slot];
    if (buffer == null || buffer.byteSize() < bytes) {
      long size = (bytes + bytes / 4 + GRANULE) / GRANULE * GRANULE;
      buffer = Arena.ofAuto().allocate(size, ALIGNMENT);
      buffers[slot] = buffer;
    }
    return buffer.address();
  }
}
