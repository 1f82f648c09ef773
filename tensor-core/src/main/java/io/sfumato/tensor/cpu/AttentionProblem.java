// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import io.sfumato.tensor.DType;
import org.jspecify.annotations.Nullable;

/**
 * Sizes and options of {@link AttentionKernel}.
 *
 * @param batch the number of batches B
 * @param heads the number of heads H
 * @param queries the number of queries Lq per head
 * @param keys the number of keys Lk per head
 * @param dim head size D of queries, keys and values
 * @param scale factor on the scores, usually {@code 1/√D}
 * @param causal whether query i sees only keys {@code j <= i} (aligned at the top left, as
 *     PyTorch's is_causal)
 * @param mask a further mask, or null
 */
public record AttentionProblem(
    int batch,
    int heads,
    int queries,
    int keys,
    int dim,
    float scale,
    boolean causal,
    @Nullable Mask mask) {

  /** How many of the keys {@code [key, key + n)} a query sees, the first ones. */
  int seen(int query, int key, int n) {
    return causal ? Math.clamp(query + 1L - key, 0, n) : n;
  }

  /** Address of a row of a head, which is {@code batch * heads() + its number}. */
  long row(Matrix m, int head, int row) {
    return m.head(head / heads, head % heads) + row * m.rowBytes();
  }

  /**
   * A matrix per batch and head whose rows are contiguous.
   *
   * @param address address of the first element
   * @param batchStride elements from one batch to the next
   * @param headStride elements from one head to the next
   * @param rowStride elements from one row to the next
   * @param type f32 or bf16
   */
  public record Matrix(
      long address, long batchStride, long headStride, long rowStride, DType type) {
    /** A matrix of f32. */
    public Matrix(long address, long batchStride, long headStride, long rowStride) {
      this(address, batchStride, headStride, rowStride, DType.F32);
    }

    /** Address of the first row of a head. */
    long head(int batch, int head) {
      return address + (batch * batchStride + head * headStride) * type.bytes();
    }

    long rowBytes() {
      return rowStride * type.bytes();
    }

    /** Contiguous [B, H, L, D], f32. */
    public static Matrix contiguous(long address, int heads, int length, int dim) {
      return contiguous(address, heads, length, dim, DType.F32);
    }

    /** Contiguous [B, H, L, D]. */
    public static Matrix contiguous(long address, int heads, int length, int dim, DType type) {
      long head = (long) length * dim;
      return new Matrix(address, heads * head, head, dim, type);
    }
  }

  /**
   * A mask over (batch, head, query, key), contiguous along the keys; a stride of 0 broadcasts.
   *
   * @param address address of the first element
   * @param bool true for bytes (0 hides the key), false for f32 addends
   * @param batchStride elements from one batch to the next
   * @param headStride elements from one head to the next
   * @param queryStride elements from one query to the next
   */
  public record Mask(
      long address, boolean bool, long batchStride, long headStride, long queryStride) {
    private static final long LOW_BITS = 0x0101010101010101L;
    private static final long HIGH_BITS = 0x8080808080808080L;

    /** Applies the mask to {@code n} scores at {@code s}, from key {@code key} on. */
    void apply(AttentionLoops loops, long s, int batch, int head, int query, int key, int n) {
      long element = batch * batchStride + head * headStride + query * queryStride + key;
      if (bool) {
        hide(s, address + element, n);
      } else {
        loops.addMask(s, address + element * 4, n);
      }
    }

    /** Eight keys at a time: most masks have long runs of visible keys. */
    private static void hide(long s, long bytes, int n) {
      int i = 0;
      while (i < n) {
        if (i + 8 <= n) {
          long eight = Memory.getLong(bytes + i);
          if ((eight - LOW_BITS & ~eight & HIGH_BITS) == 0) {
            i += 8;
            continue;
          }
        }
        int end = Math.min(n, i + 8);
        for (; i < end; i++) {
          if (Memory.getByte(bytes + i) == 0) {
            Memory.putFloat(s + i * 4L, Float.NEGATIVE_INFINITY);
          }
        }
      }
    }
  }
}
