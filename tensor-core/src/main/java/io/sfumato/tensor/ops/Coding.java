// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.NotDifferentiableException;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Dense;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * How a weight is coded in few bits: what {@link Dequantize}, {@link QuantizedLinear} and {@link
 * QuantizedConv2d} need to know of it. The coded weight itself is a few tensors, its parts:
 *
 * <ul>
 *   <li>{@link Scheme#FOUR_BIT}: codes U8 of ⌈n/2⌉ bytes in any shape, two elements of the
 *       flattened weight in a byte, the first one in the high half; a table F32 [16]; and for each
 *       {@code block} elements a scale F32 [⌈n/block⌉]. The value is {@code table[code] · scale}.
 *   <li>the same with {@link #nested}: scales are coded, too, as U8 [⌈n/block⌉], with a table F32
 *       [256] and outer scales F32, one for each {@code nested.block} of them: {@code scale =
 *       table₂[code₂] · outer + nested.offset}. The parts are codes, scales, table, outer scales,
 *       outer table.
 *   <li>{@link Scheme#ROWS_INT8}: codes U8 of the weight's shape, each the two's complement of a
 *       number from -127 to 127, and a largest magnitude F32 for each row (index of axis 0). The
 *       value is {@code code · magnitude · (1/127)}.
 * </ul>
 *
 * <p>Values are computed in f32, rounded at each step; these are bitsandbytes' rules ({@code
 * bitsandbytes/functional.py}).
 *
 * @param scheme which
 * @param shape the shape of the weight
 * @param block elements of a block; 0 for {@link Scheme#ROWS_INT8}
 * @param nested how scales are coded, or null
 */
public record Coding(Scheme scheme, Shape shape, int block, @Nullable Nested nested) {
  /** 1/127 as bitsandbytes multiplies with it. */
  public static final float INT8_STEP = 1 / 127f;

  private static final int SMALLEST_BLOCK = 32;
  private static final int LARGEST_BLOCK = 4096;

  /** The ways to code a weight. */
  public enum Scheme {
    /** Two elements in a byte, a table of 16 values, a scale for each block. */
    FOUR_BIT,
    /** One element in a byte, a scale for each row. */
    ROWS_INT8
  }

  /**
   * The coding of scales.
   *
   * @param block scales of a block
   * @param offset what is added to each scale
   */
  public record Nested(int block, float offset) {}

  /**
   * Checks the numbers.
   *
   * @throws IllegalArgumentException if the weight has no axis, or a block is not a power of two
   *     from 32 to 4096
   */
  public Coding {
    if (shape.rank() < 1) {
      throw new IllegalArgumentException("a coded weight has at least one axis");
    }
    if (scheme == Scheme.FOUR_BIT) {
      checkBlock("block", block);
      if (nested != null) {
        checkBlock("nested block", nested.block);
        if (!Float.isFinite(nested.offset)) {
          throw new IllegalArgumentException(
              "the offset of scales must be finite; got " + nested.offset);
        }
      }
    } else if (block != 0 || nested != null) {
      throw new IllegalArgumentException("rows have no blocks and no nested scales");
    }
  }

  static void checkBlock(String what, int block) {
    if (block < SMALLEST_BLOCK || block > LARGEST_BLOCK || Integer.bitCount(block) != 1) {
      throw new IllegalArgumentException(
          what
              + " must be a power of two from "
              + SMALLEST_BLOCK
              + " to "
              + LARGEST_BLOCK
              + "; got "
              + block);
    }
  }

  /** Four bits with plain scales. */
  public static Coding fourBit(Shape shape, int block) {
    return new Coding(Scheme.FOUR_BIT, shape, block, null);
  }

  /** Four bits with coded scales. */
  public static Coding fourBit(Shape shape, int block, Nested nested) {
    return new Coding(Scheme.FOUR_BIT, shape, block, nested);
  }

  /** Eight bits, a scale for each row. */
  public static Coding rowsInt8(Shape shape) {
    return new Coding(Scheme.ROWS_INT8, shape, 0, null);
  }

  /** The number of tensors that a coded weight consists of. */
  public int parts() {
    return scheme == Scheme.ROWS_INT8 ? 2 : nested == null ? 3 : 5;
  }

  /** The number of blocks. */
  public long blocks() {
    return (shape.numel() + block - 1) / block;
  }

  /** The number of elements of a row: of all axes but the first. */
  public int rowLength() {
    return shape.dim(0) == 0 ? 0 : Math.toIntExact(shape.numel() / shape.dim(0));
  }

  /**
   * Checks the parts that begin at input {@code first}.
   *
   * @throws io.sfumato.tensor.TensorException if one is not what this coding says
   */
  void check(List<TensorSpec> in, int first) {
    TensorSpec codes = in.get(first);
    if (codes.dtype() != DType.U8) {
      throw new DTypeException("codes must be u8");
    }
    if (scheme == Scheme.ROWS_INT8) {
      Require.shape(codes, shape, "codes", "of the weight");
      row(in.get(first + 1), DType.F32, shape.dim(0), "row magnitudes");
      return;
    }
    long bytes = (shape.numel() + 1) / 2;
    if (codes.shape().numel() != bytes) {
      throw new ShapeException(
          "codes of a weight " + shape + " must be " + bytes + " bytes, two elements in each");
    }
    row(in.get(first + 1), nested == null ? DType.F32 : DType.U8, blocks(), "scales");
    row(in.get(first + 2), DType.F32, 16, "table");
    if (nested != null) {
      long outer = (blocks() + nested.block - 1) / nested.block;
      row(in.get(first + 3), DType.F32, outer, "outer scales");
      row(in.get(first + 4), DType.F32, 256, "table of scales");
    }
  }

  private static void row(TensorSpec spec, DType dtype, long n, String what) {
    if (spec.dtype() != dtype) {
      throw new DTypeException(what + " must be " + dtype.label());
    }
    if (spec.shape().rank() != 1 || spec.shape().numel() != n) {
      throw new ShapeException(what + " must have shape [" + n + "]");
    }
  }

  /**
   * Refuses gradients of the parts.
   *
   * @param needs which inputs want one
   * @param first the number of the first part
   */
  void refuseGradients(boolean[] needs, int first) {
    for (int i = first; i < first + parts(); i++) {
      if (needs[i]) {
        throw new NotDifferentiableException("a coded weight has no gradient: it is frozen");
      }
    }
  }

  /** The values of the weight in row-major order, from parts that begin at {@code in[first]}. */
  double[] values(Dense[] in, int first) {
    double[] codes = in[first].data();
    double[] y = new double[Math.toIntExact(shape.numel())];
    if (scheme == Scheme.ROWS_INT8) {
      int row = rowLength();
      for (int i = 0; i < y.length; i++) {
        y[i] = (byte) codes[i] * (float) in[first + 1].data()[i / row] * INT8_STEP;
      }
      return y;
    }
    double[] table = in[first + 2].data();
    for (int i = 0; i < y.length; i++) {
      int pair = (int) codes[i / 2];
      int code = i % 2 == 0 ? pair >> 4 : pair & 15;
      y[i] = (float) table[code] * scale(in, first, i / block);
    }
    return y;
  }

  private float scale(Dense[] in, int first, int i) {
    double scale = in[first + 1].data()[i];
    if (nested == null) {
      return (float) scale;
    }
    float outer = (float) in[first + 3].data()[i / nested.block];
    return (float) in[first + 4].data()[(int) scale] * outer + nested.offset;
  }
}
