// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops.cases;

import static io.sfumato.tensor.ops.cases.ErrorCase.f32;
import static io.sfumato.tensor.ops.cases.ErrorCase.spec;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.ops.Concat;
import io.sfumato.tensor.ops.IndexAdd;
import io.sfumato.tensor.ops.IndexSelect;
import io.sfumato.tensor.ops.Select;
import io.sfumato.tensor.ops.Slice;
import io.sfumato.tensor.ops.SliceScatter;
import java.util.ArrayList;
import java.util.List;

/** Parts, joins, moves, choice by number. */
final class ShapingCases implements CaseTable {
  @Override
  public List<OpCase> cases() {
    List<OpCase> cases = new ArrayList<>();
    cases.add(OpCase.of("middle", new Slice(1, 1, 4, 1), Input.normal(3, 5)).withSecondOrder());
    cases.add(OpCase.of("every second", new Slice(0, 1, 6, 2), Input.normal(6, 3, 2)).noEmpty());
    cases.add(OpCase.of("nothing", new Slice(1, 2, 2, 1), Input.normal(3, 5)));
    cases.add(OpCase.of("channels", new Slice(1, 2, 6, 1), Input.normal(2, 8, 3, 3)));
    cases.add(OpCase.of("row", new Select(0, 2), Input.normal(3, 5)).withSecondOrder().noEmpty());
    cases.add(OpCase.of("last column", new Select(-1, -1), Input.normal(3, 5)));
    cases.add(
        OpCase.of("middle", new SliceScatter(1, 1, 4, 1, 6), Input.normal(3, 3)).withSecondOrder());
    cases.add(
        OpCase.of("every third", new SliceScatter(0, 1, 8, 3, 9), Input.normal(3, 5)).noEmpty());
    cases.add(OpCase.of("channels", new SliceScatter(1, 2, 5, 1, 7), Input.normal(2, 3, 3, 4)));
    cases.add(OpCase.of("integers", new SliceScatter(-1, 0, 2, 1, 3), Input.integers(9, 3, 2)));
    cases.add(
        OpCase.of("rows", new Concat(0), Input.normal(2, 5), Input.normal(3, 5)).withSecondOrder());
    cases.add(OpCase.of("one", new Concat(0), Input.normal(2, 5)));
    cases.add(
        OpCase.of(
            "columns", new Concat(-1), Input.normal(3, 5), Input.normal(3, 0), Input.normal(3, 7)));
    cases.add(
        OpCase.of(
            "feature maps", new Concat(1), Input.normal(2, 8, 3, 5), Input.normal(2, 3, 3, 5)));
    cases.add(
        OpCase.of("integers", new Concat(1), Input.integers(9, 3, 2), Input.integers(9, 3, 1)));
    cases.add(OpCase.of("truth", new Concat(0), Input.bools(3, 2), Input.bools(1, 2)).noEmpty());
    cases.add(
        OpCase.of("table", new IndexSelect(0), Input.normal(5, 7), Input.integers(5, 9))
            .withSecondOrder()
            .noEmpty());
    cases.add(OpCase.of("columns", new IndexSelect(-1), Input.normal(3, 6), Input.integers(6, 4)));
    cases.add(
        OpCase.of("channels", new IndexSelect(1), Input.normal(2, 6, 3, 2), Input.integers(6, 8)));
    cases.add(
        OpCase.of(
                "narrow index",
                new IndexSelect(0),
                Input.normal(5, 3),
                Input.integers(5, 4).as(DType.I32))
            .noEmpty());
    cases.add(
        OpCase.of("integers", new IndexSelect(1), Input.integers(99, 3, 4), Input.integers(4, 6)));
    cases.add(OpCase.of("no index", new IndexSelect(0), Input.normal(3, 4), Input.integers(1, 0)));
    cases.add(
        OpCase.of("repetitions", new IndexAdd(0, 4), Input.normal(9, 7), Input.integers(4, 9))
            .withSecondOrder());
    cases.add(OpCase.of("columns", new IndexAdd(1, 3), Input.normal(4, 5), Input.integers(3, 5)));
    cases.add(
        OpCase.of("channels", new IndexAdd(1, 3), Input.normal(2, 5, 2, 3), Input.integers(3, 5)));
    return cases;
  }

  @Override
  public List<ErrorCase> errors() {
    return List.of(
        ErrorCase.of(new Slice(0, 1, 4, 1), List.of(f32(3, 2)), "end <= size", "[1, 4)"),
        ErrorCase.of(new Slice(0, 0, 2, 0), List.of(f32(3, 2)), "step >= 1"),
        ErrorCase.of(new Slice(2, 0, 2, 1), List.of(f32(3, 2)), "axis"),
        ErrorCase.of(new Select(0, 3), List.of(f32(3, 2)), "below 3", "got 3"),
        ErrorCase.of(
            new SliceScatter(0, 0, 2, 1, 5), List.of(f32(3, 2)), "shape of the slice", "[2, 2]"),
        ErrorCase.of(new Concat(0), List.of(f32(3, 2), f32(3, 3)), "equal but for axis 0"),
        ErrorCase.of(new Concat(0), List.of(f32(3, 2), f32(3)), "equal but for axis 0"),
        ErrorCase.of(new Concat(0), List.of(f32(3), spec(DType.I64, 3)), "one type"),
        ErrorCase.of(new IndexSelect(0), List.of(f32(3, 2), f32(3)), "i64 or i32"),
        ErrorCase.of(
            new IndexSelect(0), List.of(f32(3, 2), spec(DType.I64, 3, 1)), "must have rank 1"),
        ErrorCase.of(
            new IndexSelect(0), List.of(f32(0, 2), spec(DType.I64, 3)), "[0, 0)", "0 is 0"),
        ErrorCase.of(
            new IndexAdd(0, 4), List.of(f32(3, 2), spec(DType.I64, 2)), "must have shape [3]"),
        ErrorCase.of(new IndexAdd(0, 0), List.of(f32(3, 2), spec(DType.I64, 3)), "[0, 0)"));
  }
}
