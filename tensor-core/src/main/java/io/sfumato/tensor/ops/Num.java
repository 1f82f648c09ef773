// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Executor;
import java.util.List;
import java.util.stream.IntStream;

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
    return Products.matmul(a, b);
  }

  /**
   * The product of matrices that may be seen transposed, for each index of the broadcast leading
   * dimensions.
   *
   * @param a [..., m, k], or [..., k, m] to be transposed
   * @param b [..., k, n], or [..., n, k] to be transposed
   * @return [..., m, n]
   */
  public static Tensor matmul(Tensor a, Tensor b, boolean transposeA, boolean transposeB) {
    return Products.matmul(a, b, transposeA, transposeB);
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
    return Einsum.run(equation, operands);
  }

  // ---- functions of one tensor

  /** {@code -x}. */
  public static Tensor neg(Tensor x) {
    return affine(x, -1, 0);
  }

  /** {@code |x|}; gradient 0 at 0. */
  public static Tensor abs(Tensor x) {
    return unary(Unary.Kind.ABS, x);
  }

  /** {@code e^x}. */
  public static Tensor exp(Tensor x) {
    return unary(Unary.Kind.EXP, x);
  }

  /** {@code e^x - 1}, exact near 0. */
  public static Tensor expm1(Tensor x) {
    return unary(Unary.Kind.EXPM1, x);
  }

  /** Natural logarithm. */
  public static Tensor log(Tensor x) {
    return unary(Unary.Kind.LOG, x);
  }

  /** {@code log(1 + x)}, exact near 0. */
  public static Tensor log1p(Tensor x) {
    return unary(Unary.Kind.LOG1P, x);
  }

  /** Square root. */
  public static Tensor sqrt(Tensor x) {
    return unary(Unary.Kind.SQRT, x);
  }

  /** {@code 1 / sqrt(x)}. */
  public static Tensor rsqrt(Tensor x) {
    return unary(Unary.Kind.RSQRT, x);
  }

  /** {@code 1 / x}. */
  public static Tensor reciprocal(Tensor x) {
    return unary(Unary.Kind.RECIPROCAL, x);
  }

  /** {@code x²}. */
  public static Tensor square(Tensor x) {
    return unary(Unary.Kind.SQUARE, x);
  }

  /** Sine of an angle in radians. */
  public static Tensor sin(Tensor x) {
    return unary(Unary.Kind.SIN, x);
  }

  /** Cosine of an angle in radians. */
  public static Tensor cos(Tensor x) {
    return unary(Unary.Kind.COS, x);
  }

  /** Hyperbolic tangent. */
  public static Tensor tanh(Tensor x) {
    return unary(Unary.Kind.TANH, x);
  }

  /** The error function {@code 2/√π ∫₀ˣ e^(-t²) dt}. */
  public static Tensor erf(Tensor x) {
    return unary(Unary.Kind.ERF, x);
  }

  /** The largest whole number not above x; gradient 0. */
  public static Tensor floor(Tensor x) {
    return unary(Unary.Kind.FLOOR, x);
  }

  /** The smallest whole number not below x; gradient 0. */
  public static Tensor ceil(Tensor x) {
    return unary(Unary.Kind.CEIL, x);
  }

  /** The nearest whole number, halves to the even one; gradient 0. */
  public static Tensor round(Tensor x) {
    return unary(Unary.Kind.ROUND, x);
  }

  /** -1, 0 or 1 by the sign; gradient 0. */
  public static Tensor sign(Tensor x) {
    return unary(Unary.Kind.SIGN, x);
  }

  /** {@code x^exponent}. */
  public static Tensor pow(Tensor x, double exponent) {
    if (exponent == 1) {
      return x;
    }
    return exponent == 2 ? square(x) : Executor.run(new PowScalar(exponent), x);
  }

  /** {@code x} bounded to [min, max]; infinities for no bound. */
  public static Tensor clamp(Tensor x, double min, double max) {
    return Executor.run(new Clamp(min, max), x);
  }

  /** BOOL, 1 where x is neither infinite nor NaN. */
  public static Tensor isFinite(Tensor x) {
    return lt(abs(x), Double.POSITIVE_INFINITY);
  }

  /**
   * The elements rounded to another type (towards zero to integers); the same tensor if it has that
   * type already. No gradient passes through integers or BOOL.
   */
  public static Tensor cast(Tensor x, DType dtype) {
    return x.dtype() == dtype ? x : Executor.run(new Cast(dtype), x);
  }

  // ---- comparison and choice; results are BOOL and have no gradient

  /** {@code a = b}. */
  public static Tensor eq(Tensor a, Tensor b) {
    return compare(Compare.Kind.EQ, a, b);
  }

  /** {@code a = b}. */
  public static Tensor eq(Tensor a, double b) {
    return compare(Compare.Kind.EQ, a, b);
  }

  /** {@code a ≠ b}. */
  public static Tensor ne(Tensor a, Tensor b) {
    return compare(Compare.Kind.NE, a, b);
  }

  /** {@code a ≠ b}. */
  public static Tensor ne(Tensor a, double b) {
    return compare(Compare.Kind.NE, a, b);
  }

  /** {@code a < b}. */
  public static Tensor lt(Tensor a, Tensor b) {
    return compare(Compare.Kind.LT, a, b);
  }

  /** {@code a < b}. */
  public static Tensor lt(Tensor a, double b) {
    return compare(Compare.Kind.LT, a, b);
  }

  /** {@code a ≤ b}. */
  public static Tensor le(Tensor a, Tensor b) {
    return compare(Compare.Kind.LE, a, b);
  }

  /** {@code a ≤ b}. */
  public static Tensor le(Tensor a, double b) {
    return compare(Compare.Kind.LE, a, b);
  }

  /** {@code a > b}. */
  public static Tensor gt(Tensor a, Tensor b) {
    return compare(Compare.Kind.GT, a, b);
  }

  /** {@code a > b}. */
  public static Tensor gt(Tensor a, double b) {
    return compare(Compare.Kind.GT, a, b);
  }

  /** {@code a ≥ b}. */
  public static Tensor ge(Tensor a, Tensor b) {
    return compare(Compare.Kind.GE, a, b);
  }

  /** {@code a ≥ b}. */
  public static Tensor ge(Tensor a, double b) {
    return compare(Compare.Kind.GE, a, b);
  }

  /** {@code ¬a} of a BOOL tensor. */
  public static Tensor logicalNot(Tensor a) {
    return Executor.run(new Logical(Logical.Kind.NOT), a);
  }

  /** {@code a ∧ b} of BOOL tensors. */
  public static Tensor logicalAnd(Tensor a, Tensor b) {
    return Executor.run(new Logical(Logical.Kind.AND), a, b);
  }

  /** {@code a ∨ b} of BOOL tensors. */
  public static Tensor logicalOr(Tensor a, Tensor b) {
    return Executor.run(new Logical(Logical.Kind.OR), a, b);
  }

  /** {@code a ≠ b} of BOOL tensors. */
  public static Tensor logicalXor(Tensor a, Tensor b) {
    return Executor.run(new Logical(Logical.Kind.XOR), a, b);
  }

  /** {@code condition ? a : b} for each element; the condition is BOOL. */
  public static Tensor where(Tensor condition, Tensor a, Tensor b) {
    DType dtype = DType.promote(a.dtype(), b.dtype());
    return Executor.run(new Where(), condition, cast(a, dtype), cast(b, dtype));
  }

  // ---- reductions: no axes means all of them

  /** Σ x over some axes, which disappear. */
  public static Tensor sum(Tensor x, int... axes) {
    return sum(x, false, axes);
  }

  /** Σ x over some axes, which stay with size 1 if {@code keepDims}. */
  public static Tensor sum(Tensor x, boolean keepDims, int... axes) {
    return reduce(Reduce.Kind.SUM, x, keepDims, axes);
  }

  /** The mean over some axes, which disappear. */
  public static Tensor mean(Tensor x, int... axes) {
    return mean(x, false, axes);
  }

  /** The mean over some axes, which stay with size 1 if {@code keepDims}. */
  public static Tensor mean(Tensor x, boolean keepDims, int... axes) {
    return reduce(Reduce.Kind.MEAN, x, keepDims, axes);
  }

  /** The largest element over some axes, which disappear. Ties share the gradient equally. */
  public static Tensor max(Tensor x, int... axes) {
    return max(x, false, axes);
  }

  /** The largest element over some axes, which stay with size 1 if {@code keepDims}. */
  public static Tensor max(Tensor x, boolean keepDims, int... axes) {
    return reduce(Reduce.Kind.MAX, x, keepDims, axes);
  }

  /** The smallest element over some axes, which disappear. Ties share the gradient equally. */
  public static Tensor min(Tensor x, int... axes) {
    return min(x, false, axes);
  }

  /** The smallest element over some axes, which stay with size 1 if {@code keepDims}. */
  public static Tensor min(Tensor x, boolean keepDims, int... axes) {
    return reduce(Reduce.Kind.MIN, x, keepDims, axes);
  }

  /** Π x over some axes, which disappear. */
  public static Tensor prod(Tensor x, int... axes) {
    return prod(x, false, axes);
  }

  /** Π x over some axes, which stay with size 1 if {@code keepDims}. */
  public static Tensor prod(Tensor x, boolean keepDims, int... axes) {
    return reduce(Reduce.Kind.PROD, x, keepDims, axes);
  }

  /** Whether any element is not 0, over some axes, which disappear. */
  public static Tensor any(Tensor x, int... axes) {
    return reduce(Reduce.Kind.ANY, x, false, axes);
  }

  /** Whether all elements are not 0, over some axes, which disappear. */
  public static Tensor all(Tensor x, int... axes) {
    return reduce(Reduce.Kind.ALL, x, false, axes);
  }

  /** The index of the largest of all elements in row-major order, as I64; the first of equals. */
  public static Tensor argmax(Tensor x) {
    return argmax(Shaping.reshape(x, -1), 0, false);
  }

  /** The index of the largest element along one axis, as I64; the first of equals. */
  public static Tensor argmax(Tensor x, int axis, boolean keepDims) {
    return Executor.run(new ArgReduce(true, axis, keepDims), x);
  }

  /** The index of the smallest of all elements in row-major order, as I64; the first of equals. */
  public static Tensor argmin(Tensor x) {
    return argmin(Shaping.reshape(x, -1), 0, false);
  }

  /** The index of the smallest element along one axis, as I64; the first of equals. */
  public static Tensor argmin(Tensor x, int axis, boolean keepDims) {
    return Executor.run(new ArgReduce(false, axis, keepDims), x);
  }

  /**
   * The variance over some axes; {@code correction} 1 for the unbiased estimate, 0 for the biased.
   */
  public static Tensor var(Tensor x, int correction, boolean keepDims, int... axes) {
    return Executor.run(new Variance(list(axes), correction, keepDims, false), x);
  }

  /** The standard deviation over some axes: the root of {@link #var}; gradient 0 where it is 0. */
  public static Tensor std(Tensor x, int correction, boolean keepDims, int... axes) {
    return Executor.run(new Variance(list(axes), correction, keepDims, true), x);
  }

  /** {@code log Σ e^x} over some axes, which disappear. */
  public static Tensor logsumexp(Tensor x, int... axes) {
    return logsumexp(x, false, axes);
  }

  /** {@code log Σ e^x} over some axes, which stay with size 1 if {@code keepDims}. */
  public static Tensor logsumexp(Tensor x, boolean keepDims, int... axes) {
    return Executor.run(new LogSumExp(list(axes), keepDims), x);
  }

  // ---- along one axis

  /** The running sum along an axis. */
  public static Tensor cumsum(Tensor x, int axis) {
    return cumsum(x, axis, false);
  }

  /** The running sum along an axis, from its end if {@code reversed}. */
  public static Tensor cumsum(Tensor x, int axis, boolean reversed) {
    return Executor.run(new CumSum(axis, reversed), x);
  }

  /**
   * What sorting gives.
   *
   * @param values the elements in order
   * @param indices where they were along the axis, I64
   */
  public record Sorted(Tensor values, Tensor indices) {}

  /** The elements along an axis in order, equal ones in the order they had; NaN above all. */
  public static Sorted sort(Tensor x, int axis, boolean descending) {
    Tensor[] y = Executor.current().execute(new Sort(axis, descending), x);
    return new Sorted(y[0], y[1]);
  }

  /** The {@code k} largest or smallest elements along an axis, the most extreme one first. */
  public static Sorted topk(Tensor x, int k, int axis, boolean largest) {
    Tensor[] y = Executor.current().execute(new TopK(k, axis, largest), x);
    return new Sorted(y[0], y[1]);
  }

  // ---- for backwards

  static Tensor takeAlong(Tensor x, Tensor index, int axis) {
    return Executor.run(new TakeAlong(axis), x, index);
  }

  static Tensor putAlong(Tensor x, Tensor index, int axis, int size) {
    return Executor.run(new PutAlong(axis, size), x, index);
  }

  static Tensor unaryBackward(UnaryBackward.Kind kind, Tensor kept, Tensor dy) {
    return Executor.run(new UnaryBackward(kind), kept, dy);
  }

  static Tensor prodBackward(Tensor x, Tensor g, List<Integer> axes) {
    return Executor.run(new ProdBackward(axes), x, g);
  }

  // ---- helpers

  static Tensor unary(Unary.Kind kind, Tensor x) {
    return Executor.run(new Unary(kind), x);
  }

  private static Tensor compare(Compare.Kind kind, Tensor a, Tensor b) {
    DType dtype = DType.promote(a.dtype(), b.dtype());
    return Executor.run(new Compare(kind), cast(a, dtype), cast(b, dtype));
  }

  private static Tensor compare(Compare.Kind kind, Tensor a, double b) {
    boolean exact = a.dtype().isFloating() || (a.dtype().isInteger() && b == Math.rint(b));
    Tensor left = exact ? a : cast(a, DType.F32);
    return Executor.run(new Compare(kind), left, Shaping.full(left.spec().with(Shape.SCALAR), b));
  }

  private static Tensor reduce(Reduce.Kind kind, Tensor x, boolean keepDims, int... axes) {
    return Executor.run(new Reduce(kind, list(axes), keepDims), x);
  }

  private static List<Integer> list(int... axes) {
    return IntStream.of(axes).boxed().toList();
  }
}
