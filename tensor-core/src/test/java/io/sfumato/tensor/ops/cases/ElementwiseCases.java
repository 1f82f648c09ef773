// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops.cases;

import static io.sfumato.tensor.ops.cases.ErrorCase.f32;
import static io.sfumato.tensor.ops.cases.ErrorCase.spec;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.ops.Affine;
import io.sfumato.tensor.ops.Cast;
import io.sfumato.tensor.ops.Clamp;
import io.sfumato.tensor.ops.Compare;
import io.sfumato.tensor.ops.GatedUnit;
import io.sfumato.tensor.ops.GatedUnitBackward;
import io.sfumato.tensor.ops.Logical;
import io.sfumato.tensor.ops.PowScalar;
import io.sfumato.tensor.ops.Unary;
import io.sfumato.tensor.ops.UnaryBackward;
import io.sfumato.tensor.ops.Where;
import java.util.ArrayList;
import java.util.List;

/** Functions of one tensor, comparisons, choice, casts. */
final class ElementwiseCases implements CaseTable {
  private static final double INF = Double.POSITIVE_INFINITY;

  @Override
  public List<OpCase> cases() {
    List<OpCase> cases = new ArrayList<>();
    for (Unary.Kind kind : Unary.Kind.values()) {
      cases.add(unary(kind, "matrix", 5, 7));
      cases.add(unary(kind, "longer than vectors", 3, 67));
    }
    for (UnaryBackward.Kind kind : UnaryBackward.Kind.values()) {
      Input kept =
          switch (kind) {
            case TANH -> Input.uniform(-0.95, 0.95, 5, 7);
            case SIGMOID -> Input.uniform(0.05, 0.95, 5, 7);
            case RELU -> Input.distinct(5, 7);
            default -> Input.normal(5, 7);
          };
      cases.add(OpCase.of("matrix", new UnaryBackward(kind), kept, Input.normal(5, 7)));
    }
    for (GatedUnit.Kind kind : GatedUnit.Kind.values()) {
      cases.add(OpCase.of("matrix", new GatedUnit(kind), Input.normal(5, 14)).withSecondOrder());
      cases.add(OpCase.of("long rows", new GatedUnit(kind), Input.normal(2, 3, 160)));
      GatedUnitBackward backward = new GatedUnitBackward(kind);
      cases.add(OpCase.of("matrix", backward, Input.normal(5, 14), Input.normal(5, 7)));
      cases.add(OpCase.of("long rows", backward, Input.normal(2, 3, 160), Input.normal(2, 3, 80)));
    }
    for (double p : new double[] {3, 0.5, -1.5, 0}) {
      cases.add(
          OpCase.of("exponent " + p, new PowScalar(p), Input.positive(3, 7)).withSecondOrder());
    }
    cases.add(OpCase.of("cubes of any sign", new PowScalar(3), Input.normal(3, 7)));
    cases.add(OpCase.of("integers", new PowScalar(2), Input.integers(9, 4)));
    cases.add(OpCase.of("both bounds", new Clamp(-0.505, 0.31), Input.distinct(4, 9)));
    cases.add(OpCase.of("lower bound", new Clamp(0.105, INF), Input.distinct(4, 9)));
    cases.add(OpCase.of("integers", new Clamp(2, 5), Input.integers(9, 12)));
    cases.add(OpCase.of("shift only", new Affine(1, 0.5), Input.normal(3, 67)));
    for (Compare.Kind kind : Compare.Kind.values()) {
      Compare op = new Compare(kind);
      cases.add(OpCase.of("floats", op, Input.normal(3, 20), Input.normal(3, 20)));
      cases.add(OpCase.of("column", op, Input.normal(3, 5), Input.normal(3, 1)));
      cases.add(OpCase.of("integers", op, Input.integers(3, 4, 6), Input.integers(3, 6)));
      cases.add(OpCase.of("scalar", op, Input.normal(3, 5), Input.normal()));
    }
    for (Logical.Kind kind : Logical.Kind.values()) {
      Logical op = new Logical(kind);
      if (kind == Logical.Kind.NOT) {
        cases.add(OpCase.of("matrix", op, Input.bools(3, 5)));
      } else {
        cases.add(OpCase.of("row", op, Input.bools(3, 5), Input.bools(5)));
      }
    }
    cases.add(
        OpCase.of(
                "one shape",
                new Where(),
                Input.bools(3, 20),
                Input.normal(3, 20),
                Input.normal(3, 20))
            .withSecondOrder());
    cases.add(
        OpCase.of(
            "all broadcast", new Where(), Input.bools(3, 1), Input.normal(4), Input.normal()));
    cases.add(
        OpCase.of(
            "integers", new Where(), Input.bools(6), Input.integers(9, 6), Input.integers(9, 1)));
    for (DType dtype : DType.values()) {
      OpCase toType = OpCase.of("floats to " + dtype.label(), new Cast(dtype), Input.normal(3, 21));
      boolean wide = dtype == DType.F64 || dtype == DType.F32;
      cases.add(wide ? toType : toType.noGradient("rounding has no derivative"));
      cases.add(OpCase.of("integers to " + dtype.label(), new Cast(dtype), Input.integers(99, 7)));
    }
    return cases;
  }

  private static OpCase unary(Unary.Kind kind, String name, int... shape) {
    Input x =
        switch (kind) {
          case LOG, LOG1P, SQRT, RSQRT, RECIPROCAL -> Input.positive(shape);
          case ABS, RELU, SIGN -> Input.distinct(shape);
          case FLOOR, CEIL, ROUND -> Input.uniform(0.55, 0.95, shape);
          case EXP, EXPM1 -> Input.uniform(-2, 2, shape);
          default -> Input.normal(shape);
        };
    return OpCase.of(name, new Unary(kind), x).withSecondOrder();
  }

  @Override
  public List<ErrorCase> errors() {
    return List.of(
        ErrorCase.of(new Unary(Unary.Kind.EXP), List.of(spec(DType.I64, 2)), "floating", "cast"),
        ErrorCase.of(new Unary(Unary.Kind.ABS), List.of(spec(DType.BOOL, 2)), "number"),
        ErrorCase.of(
            new UnaryBackward(UnaryBackward.Kind.SILU), List.of(f32(2), f32(3)), "one shape"),
        ErrorCase.of(
            new UnaryBackward(UnaryBackward.Kind.SILU),
            List.of(f32(2), spec(DType.F64, 2)),
            "one floating type"),
        ErrorCase.of(new GatedUnit(GatedUnit.Kind.SILU), List.of(f32(2, 3)), "must be even"),
        ErrorCase.of(
            new GatedUnitBackward(GatedUnit.Kind.SILU),
            List.of(f32(2, 4), f32(2, 4)),
            "gradient must have shape [2, 2]"),
        ErrorCase.of(new PowScalar(0.5), List.of(spec(DType.I64, 2)), "natural exponent"),
        ErrorCase.of(new Clamp(0.5, 1), List.of(spec(DType.I64, 2)), "whole bounds"),
        ErrorCase.of(new Compare(Compare.Kind.LT), List.of(f32(2), spec(DType.I64, 2)), "one type"),
        ErrorCase.of(new Compare(Compare.Kind.LT), List.of(f32(2), f32(3)), "broadcast"),
        ErrorCase.of(
            new Logical(Logical.Kind.AND), List.of(f32(2), spec(DType.BOOL, 2)), "must be bool"),
        ErrorCase.of(new Where(), List.of(f32(2), f32(2), f32(2)), "condition must be bool"),
        ErrorCase.of(
            new Where(),
            List.of(spec(DType.BOOL, 2), f32(2), spec(DType.I64, 2)),
            "choices must have one type"),
        ErrorCase.of(new Where(), List.of(spec(DType.BOOL, 3), f32(2), f32(2)), "broadcast"));
  }
}
