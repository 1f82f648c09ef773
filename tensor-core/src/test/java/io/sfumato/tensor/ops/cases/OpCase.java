// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops.cases;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Op;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * One case of one op: attributes and inputs. All generic suites run it; flags say where a suite
 * shall not. Immutable; flags return changed copies.
 *
 * @param name what is special about it
 * @param op the op with its attributes
 * @param inputs its inputs, in order
 * @param seed of the values of input 0; input i has {@code seed + i}
 * @param tolerance allowed difference of the fast f32 kernel from the f64 reference, relative to
 *     the largest value of the output
 * @param half whether BF16 and F16 are tried
 * @param dtypes the floating types the op takes
 * @param noGradient why a Differentiable op's gradient is not checked here, or null
 * @param constants inputs that are floating but get no gradient
 * @param secondOrder whether the gradient of the gradient is checked
 * @param strides whether inputs of odd strides are tried
 * @param empty whether a variant with no rows (axis 0 of size 0) is tried where the shape rule
 *     takes it
 */
public record OpCase(
    String name,
    Op op,
    List<Input> inputs,
    long seed,
    double tolerance,
    boolean half,
    Set<DType> dtypes,
    @Nullable String noGradient,
    Set<Integer> constants,
    boolean secondOrder,
    boolean strides,
    boolean empty) {
  /** The default of {@link #tolerance}. */
  public static final double TOLERANCE = 4e-6;

  /** A case with every check on, but that of the second derivative. */
  public static OpCase of(String name, Op op, Input... inputs) {
    Set<DType> dtypes = Set.of(DType.F64, DType.F32, DType.BF16, DType.F16);
    return new OpCase(
        name, op, List.of(inputs), 1, TOLERANCE, true, dtypes, null, Set.of(), false, true, true);
  }

  /** Does not check the gradient, because … */
  public OpCase noGradient(String reason) {
    return new OpCase(
        name,
        op,
        inputs,
        seed,
        tolerance,
        half,
        dtypes,
        reason,
        constants,
        secondOrder,
        strides,
        empty);
  }

  /** Allows the fast f32 kernel this difference, relative to the largest value of the output. */
  public OpCase tolerance(double relative) {
    return new OpCase(
        name,
        op,
        inputs,
        seed,
        relative,
        half,
        dtypes,
        noGradient,
        constants,
        secondOrder,
        strides,
        empty);
  }

  /** Does not try BF16 and F16. */
  public OpCase noHalf() {
    return new OpCase(
        name,
        op,
        inputs,
        seed,
        tolerance,
        false,
        dtypes,
        noGradient,
        constants,
        secondOrder,
        strides,
        empty);
  }

  /** Tries only these floating types. */
  public OpCase dtypes(DType... only) {
    return new OpCase(
        name,
        op,
        inputs,
        seed,
        tolerance,
        half,
        Set.of(only),
        noGradient,
        constants,
        secondOrder,
        strides,
        empty);
  }

  /** These inputs are floating, but get no gradient. */
  public OpCase constants(Integer... inputNumbers) {
    return new OpCase(
        name,
        op,
        inputs,
        seed,
        tolerance,
        half,
        dtypes,
        noGradient,
        Set.of(inputNumbers),
        secondOrder,
        strides,
        empty);
  }

  /** Also checks the gradient of the gradient. */
  public OpCase withSecondOrder() {
    return new OpCase(
        name,
        op,
        inputs,
        seed,
        tolerance,
        half,
        dtypes,
        noGradient,
        constants,
        true,
        strides,
        empty);
  }

  /** Does not try inputs of odd strides (the op demands a layout). */
  public OpCase noStrides() {
    return new OpCase(
        name,
        op,
        inputs,
        seed,
        tolerance,
        half,
        dtypes,
        noGradient,
        constants,
        secondOrder,
        false,
        empty);
  }

  /** Does not try the variant without rows. */
  public OpCase noEmpty() {
    return new OpCase(
        name,
        op,
        inputs,
        seed,
        tolerance,
        half,
        dtypes,
        noGradient,
        constants,
        secondOrder,
        strides,
        false);
  }

  /** Other random values. */
  public OpCase seed(long other) {
    return new OpCase(
        name,
        op,
        inputs,
        other,
        tolerance,
        half,
        dtypes,
        noGradient,
        constants,
        secondOrder,
        strides,
        empty);
  }

  /** The inputs as row-major tensors in the current scope, floating ones of the given type. */
  public Tensor[] tensors(DType floating) {
    return IntStream.range(0, inputs.size())
        .mapToObj(i -> inputs.get(i).tensor(seed + i, floating))
        .toArray(Tensor[]::new);
  }

  /** Whether an input's type is chosen by the suite, so that it has another value in each type. */
  public boolean hasFreeInput() {
    return inputs.stream().anyMatch(Input::isFree);
  }

  /** This case with axis 0 of size 0 in every input that has as many rows as the first; or null. */
  public @Nullable OpCase withoutRows() {
    if (!empty || inputs.isEmpty() || inputs.getFirst().shape().rank() == 0) {
      return null;
    }
    int rows = inputs.getFirst().shape().dim(0);
    List<Input> none =
        inputs.stream()
            .map(x -> x.shape().rank() > 0 && x.shape().dim(0) == rows ? x.withRows(0) : x)
            .toList();
    return new OpCase(
        name + ", no rows",
        op,
        none,
        seed,
        tolerance,
        half,
        dtypes,
        noGradient,
        constants,
        secondOrder,
        strides,
        false);
  }

  @Override
  public String toString() {
    return op.name() + ": " + name;
  }
}
