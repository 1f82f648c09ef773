// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops.cases;

import static io.sfumato.tensor.ops.cases.ErrorCase.f32;
import static io.sfumato.tensor.ops.cases.ErrorCase.spec;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.ops.Affine;
import io.sfumato.tensor.ops.Binary;
import io.sfumato.tensor.ops.Contiguous;
import io.sfumato.tensor.ops.Expand;
import io.sfumato.tensor.ops.Full;
import io.sfumato.tensor.ops.Permute;
import io.sfumato.tensor.ops.RandomFill;
import io.sfumato.tensor.ops.Reshape;
import io.sfumato.tensor.ops.SumTo;
import java.util.ArrayList;
import java.util.List;

/** Arithmetic on two tensors, views, copies. */
final class CoreCases implements CaseTable {
  @Override
  public List<OpCase> cases() {
    List<OpCase> cases = new ArrayList<>();
    for (Binary.Kind kind :
        new Binary.Kind[] {Binary.Kind.ADD, Binary.Kind.SUB, Binary.Kind.MUL, Binary.Kind.DIV}) {
      Binary op = new Binary(kind);
      cases.add(
          OpCase.of("same shape", op, Input.normal(3, 5), Input.positive(3, 5)).withSecondOrder());
      cases.add(
          OpCase.of("row and column", op, Input.normal(4, 1), Input.positive(7)).withSecondOrder());
      cases.add(
          OpCase.of(
              "feature map and channel", op, Input.normal(2, 8, 3, 3), Input.positive(8, 1, 1)));
      cases.add(OpCase.of("scalar", op, Input.normal(), Input.positive(2, 3)));
    }
    cases.add(
        OpCase.of(
                "positive base",
                new Binary(Binary.Kind.POW),
                Input.positive(3, 4),
                Input.uniform(-2, 2, 3, 4))
            .withSecondOrder());
    for (Binary.Kind kind : new Binary.Kind[] {Binary.Kind.MAXIMUM, Binary.Kind.MINIMUM}) {
      Binary op = new Binary(kind);
      cases.add(OpCase.of("no ties", op, Input.distinct(3, 4), Input.uniform(-0.01, 0.01, 4)));
      cases.add(OpCase.of("integers", op, Input.integers(5, 3, 4), Input.integers(5, 4)));
    }
    cases.add(
        OpCase.of("scale and shift", new Affine(-1.5, 0.25), Input.normal(3, 4, 5))
            .withSecondOrder());
    cases.add(OpCase.of("integers", new Affine(2, -1), Input.integers(9, 6)));
    cases.add(OpCase.of("leading axes", new SumTo(Shape.of(4)), Input.normal(3, 2, 4)));
    cases.add(OpCase.of("axis of size one", new SumTo(Shape.of(4)), Input.normal(1, 4)));
    cases.add(OpCase.of("inner axis", new SumTo(Shape.of(3, 1)), Input.normal(3, 9)));
    cases.add(OpCase.of("an axis of size 1", new SumTo(Shape.of(4)), Input.normal(1, 4)));
    cases.add(OpCase.of("to a scalar", new SumTo(Shape.SCALAR), Input.normal(3, 5)));
    cases.add(OpCase.of("channels", new SumTo(Shape.of(6, 1, 1)), Input.normal(2, 6, 3, 3)));
    cases.add(OpCase.of("split", new Reshape(Shape.of(2, 3, 4)), Input.normal(6, 4)).noStrides());
    cases.add(OpCase.of("to a scalar", new Reshape(Shape.SCALAR), Input.normal(1, 1)).noStrides());
    cases.add(OpCase.of("rotation", new Permute(List.of(2, 0, 1)), Input.normal(2, 3, 4)));
    cases.add(OpCase.of("rows", new Expand(Shape.of(5, 3, 4)), Input.normal(3, 1)));
    cases.add(OpCase.of("row-major", new Contiguous(false), Input.normal(2, 3, 4, 2)));
    cases.add(OpCase.of("channels-last", new Contiguous(true), Input.normal(2, 3, 4, 2)));
    for (DType dtype : DType.values()) {
      TensorSpec spec = new TensorSpec(Shape.of(2, 3), dtype, Device.CPU);
      cases.add(OpCase.of(dtype.label(), new Full(spec, 1)));
    }
    TensorSpec noise = new TensorSpec(Shape.of(5, 7), DType.F32, Device.CPU);
    for (RandomFill.Kind kind : RandomFill.Kind.values()) {
      cases.add(OpCase.of(kind.name(), new RandomFill(kind, 12345, noise)));
    }
    return cases;
  }

  @Override
  public List<ErrorCase> errors() {
    Binary add = new Binary(Binary.Kind.ADD);
    return List.of(
        ErrorCase.of(add, List.of(f32(2, 3), f32(2, 4)), "broadcast", "[2, 3]", "[2, 4]"),
        ErrorCase.of(add, List.of(f32(2), spec(DType.I64, 2)), "one type"),
        ErrorCase.of(add, List.of(spec(DType.BOOL, 2), spec(DType.BOOL, 2)), "must be numbers"),
        ErrorCase.of(
            new Binary(Binary.Kind.DIV),
            List.of(spec(DType.I64, 2), spec(DType.I64, 2)),
            "must be floating"),
        ErrorCase.of(new Affine(0.5, 0), List.of(spec(DType.I64, 2)), "whole constants"),
        ErrorCase.of(new SumTo(Shape.of(3)), List.of(f32(2, 4)), "[3]", "broadcast"),
        ErrorCase.of(new Reshape(Shape.of(5)), List.of(f32(2, 3)), "number of elements"),
        ErrorCase.of(new Permute(List.of(0, 0)), List.of(f32(2, 3)), "distinct"),
        ErrorCase.of(new Expand(Shape.of(2, 4)), List.of(f32(2, 3)), "broadcast"));
  }
}
