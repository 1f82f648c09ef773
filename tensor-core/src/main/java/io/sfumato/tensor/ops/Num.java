// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Executor;

/**
 * Numerics: elementwise functions, comparisons, reductions, products, sorting. The names are those
 * of {@code torch.*}. Binary functions broadcast, and promote types by {@link DType#promote}.
 */
public final class Num {
  private Num() {}

  /** {@code a + b}. */
  public static Tensor add(Tensor a, Tensor b) {
    return binary(Binary.Kind.ADD, a, b);
  }

  /** {@code a - b}. */
  public static Tensor sub(Tensor a, Tensor b) {
    return binary(Binary.Kind.SUB, a, b);
  }

  /** {@code a b}. */
  public static Tensor mul(Tensor a, Tensor b) {
    return binary(Binary.Kind.MUL, a, b);
  }

  /** {@code a / b}; the operands must be floating. */
  public static Tensor div(Tensor a, Tensor b) {
    return binary(Binary.Kind.DIV, a, b);
  }

  /** {@code a} to the power {@code b}. */
  public static Tensor pow(Tensor a, Tensor b) {
    return binary(Binary.Kind.POW, a, b);
  }

  /** The larger of two elements; NaN if either is NaN. */
  public static Tensor maximum(Tensor a, Tensor b) {
    return binary(Binary.Kind.MAXIMUM, a, b);
  }

  /** The smaller of two elements; NaN if either is NaN. */
  public static Tensor minimum(Tensor a, Tensor b) {
    return binary(Binary.Kind.MINIMUM, a, b);
  }

  /** {@code scale x + shift}. */
  public static Tensor affine(Tensor x, double scale, double shift) {
    return Executor.run(new Affine(scale, shift), x);
  }

  /** Sums away what broadcasting {@code target} to the shape of {@code x} would add. */
  public static Tensor sumTo(Tensor x, Shape target) {
    return x.shape().equals(target) ? x : Executor.run(new SumTo(target), x);
  }

  private static Tensor binary(Binary.Kind kind, Tensor a, Tensor b) {
    DType dtype = DType.promote(a.dtype(), b.dtype());
    return Executor.run(new Binary(kind), cast(a, dtype), cast(b, dtype));
  }

  // ---- products

  /**
   * The matrix product, by the rules of {@code torch.matmul}: matrices in the last two dimensions,
   * the ones before them broadcast; a vector on the left is a row, one on the right a column, and
   * the dimension added for it is dropped.
   *
   * @param a [..., m, k] or [k]
   * @param b [..., k, n] or [k]
   * @return [..., m, n]
   * @throws io.sfumato.tensor.ShapeException if the inner sizes differ or one operand is a scalar
   */
  public static Tensor matmul(Tensor a, Tensor b) {
    throw new UnsupportedOperationException("matmul");
  }

  /**
   * A sum of products in Einstein's notation, by the rules of {@code torch.einsum}: {@code
   * "bhid,bhjd->bhij"}. Letters name dimensions, {@code ...} stands for dimensions that broadcast;
   * a letter missing on the right is summed over; without {@code ->} the letters that occur once
   * are kept, in the order of the alphabet.
   *
   * @param equation the subscripts
   * @param operands one tensor for each comma-separated term
   * @throws io.sfumato.tensor.ShapeException if the equation is malformed or does not fit the
   *     shapes
   */
  public static Tensor einsum(String equation, Tensor... operands) {
    throw new UnsupportedOperationException("einsum");
  }

  // ---- to be filled in

  /** Natural logarithm. */
  public static Tensor log(Tensor x) {
    throw new UnsupportedOperationException("log");
  }

  /** 1 where {@code a > b}, as BOOL. */
  public static Tensor gt(Tensor a, Tensor b) {
    throw new UnsupportedOperationException("gt");
  }

  /** 1 where {@code a = b}, as BOOL. */
  public static Tensor eq(Tensor a, Tensor b) {
    throw new UnsupportedOperationException("eq");
  }

  /** The elements rounded to another type; the same tensor if it has that type already. */
  public static Tensor cast(Tensor x, DType dtype) {
    if (x.dtype() == dtype) {
      return x;
    }
    throw new UnsupportedOperationException("cast");
  }
}
