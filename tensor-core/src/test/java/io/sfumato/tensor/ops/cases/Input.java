// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops.cases;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import java.util.Arrays;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;

/**
 * An input of a case: how its values are made, the same ones each time. Floating inputs take the
 * type the suite asks for unless {@link #as} fixes one.
 *
 * @param kind how values are made
 * @param shape the shape
 * @param low lower bound, where the kind has one
 * @param high upper bound, where the kind has one
 * @param values the values in row-major order, for {@link Kind#VALUES}
 * @param fixed the type, or null for the floating type that the suite asks for
 */
@SuppressWarnings("ArrayRecordComponent") // never compared
public record Input(
    Kind kind, Shape shape, double low, double high, double[] values, @Nullable DType fixed) {
  private static final double[] NONE = {};

  /** How values are made. */
  public enum Kind {
    /** Standard normal. */
    NORMAL,
    /** Uniform between the bounds. */
    UNIFORM,
    /** A random permutation of equidistant values between the bounds: no ties. */
    DISTINCT,
    /** Whole numbers from 0 to below the upper bound. */
    INTEGERS,
    /** 0 or 1. */
    BOOLS,
    /** Those given. */
    VALUES
  }

  /** Standard normal values. */
  public static Input normal(int... shape) {
    return new Input(Kind.NORMAL, Shape.of(shape), 0, 0, NONE, null);
  }

  /** Values uniform in [{@code low}, {@code high}). */
  public static Input uniform(double low, double high, int... shape) {
    return new Input(Kind.UNIFORM, Shape.of(shape), low, high, NONE, null);
  }

  /** Values uniform in [0.5, 2). */
  public static Input positive(int... shape) {
    return uniform(0.5, 2, shape);
  }

  /** Values between -1 and 1, no two equal or close, none 0: for maxima, sorting, kinks. */
  public static Input distinct(int... shape) {
    return new Input(Kind.DISTINCT, Shape.of(shape), -1, 1, NONE, null);
  }

  /** I64 values from 0 to {@code bound - 1}. */
  public static Input integers(int bound, int... shape) {
    return new Input(Kind.INTEGERS, Shape.of(shape), 0, bound, NONE, DType.I64);
  }

  /** BOOL values. */
  public static Input bools(int... shape) {
    return new Input(Kind.BOOLS, Shape.of(shape), 0, 1, NONE, DType.BOOL);
  }

  /** These values, in row-major order. */
  public static Input values(double[] values, int... shape) {
    return new Input(Kind.VALUES, Shape.of(shape), 0, 0, values.clone(), null);
  }

  /** This input with its type fixed, whatever type the suite asks for. */
  public Input as(DType dtype) {
    return new Input(kind, shape, low, high, values, dtype);
  }

  /** Whether the suite chooses the type. */
  public boolean isFree() {
    return fixed == null;
  }

  /** The type when the suite asks for {@code floating}. */
  public DType dtype(DType floating) {
    return fixed == null ? floating : fixed;
  }

  /** This input with another size of axis 0. */
  Input withRows(int rows) {
    Kind k = kind == Kind.VALUES ? Kind.UNIFORM : kind;
    return new Input(k, shape.with(0, rows), low, high, NONE, fixed);
  }

  /** The values in row-major order, not yet rounded to a type. */
  public double[] make(long seed) {
    int n = Math.toIntExact(shape.numel());
    SplittableRandom random = new SplittableRandom(seed);
    double[] x = new double[n];
    switch (kind) {
      case NORMAL -> Arrays.setAll(x, i -> random.nextGaussian());
      case UNIFORM -> Arrays.setAll(x, i -> low + (high - low) * random.nextDouble());
      case INTEGERS -> Arrays.setAll(x, i -> random.nextInt((int) high));
      case BOOLS -> Arrays.setAll(x, i -> random.nextInt(2));
      case VALUES -> System.arraycopy(values, 0, x, 0, n);
      case DISTINCT -> {
        Arrays.setAll(x, i -> low + (high - low) * (i + 0.3) / n);
        for (int i = n - 1; i > 0; i--) {
          int j = random.nextInt(i + 1);
          double t = x[i];
          x[i] = x[j];
          x[j] = t;
        }
      }
    }
    return x;
  }

  /** A row-major tensor on the CPU with these values, owned by the current scope. */
  public Tensor tensor(long seed, DType floating) {
    return Tensor.of(make(seed), dtype(floating), Device.CPU, shape.dims());
  }
}
