// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops.cases;

import static io.sfumato.tensor.ops.cases.ErrorCase.f32;
import static io.sfumato.tensor.ops.cases.ErrorCase.spec;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ops.Concat;
import io.sfumato.tensor.ops.Flip;
import io.sfumato.tensor.ops.Gather;
import io.sfumato.tensor.ops.IndexAdd;
import io.sfumato.tensor.ops.IndexSelect;
import io.sfumato.tensor.ops.Pad;
import io.sfumato.tensor.ops.PadBackward;
import io.sfumato.tensor.ops.Roll;
import io.sfumato.tensor.ops.ScatterAdd;
import io.sfumato.tensor.ops.Select;
import io.sfumato.tensor.ops.Sequence;
import io.sfumato.tensor.ops.Slice;
import io.sfumato.tensor.ops.SliceScatter;
import io.sfumato.tensor.ops.Split;
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
            "given order",
            new Concat(0, List.of(1, 2, 0)),
            Input.normal(2, 3, 5),
            Input.normal(1, 3, 5)));
    cases.add(
        OpCase.of("rows", new Split(0, List.of(2, 0, 3), List.of(0, 1)), Input.normal(5, 3))
            .withSecondOrder()
            .noEmpty());
    cases.add(
        OpCase.of(
            "middle axis, other order",
            new Split(1, List.of(1, 1, 2), List.of(0, 2, 1)),
            Input.normal(2, 4, 3)));
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
    moves(cases);
    choices(cases);
    return cases;
  }

  private static void moves(List<OpCase> cases) {
    for (Pad.Mode mode : Pad.Mode.values()) {
      cases.add(
          OpCase.of("matrix " + mode, pad(mode, 1.5, 1, 2, 0, 3), Input.normal(3, 5))
              .withSecondOrder()
              .noEmpty());
      cases.add(
          OpCase.of(
              "feature map " + mode,
              pad(mode, 0, 0, 0, 0, 0, 1, 2, 2, 0),
              Input.normal(2, 5, 3, 4)));
      cases.add(OpCase.of("integers " + mode, pad(mode, -1, 0, 0, 1, 1), Input.integers(99, 3, 4)));
    }
    for (Pad.Mode mode : new Pad.Mode[] {Pad.Mode.REFLECT, Pad.Mode.REPLICATE}) {
      Pad forward = pad(mode, 0, 0, 0, 0, 0, 1, 2, 2, 0);
      cases.add(
          OpCase.of(
                  "of " + mode,
                  new PadBackward(forward, Shape.of(2, 17, 3, 4)),
                  Input.normal(2, 17, 6, 6))
              .withSecondOrder()
              .noEmpty());
    }
    cases.add(OpCase.of("rows", new Flip(List.of(0)), Input.normal(3, 5)).withSecondOrder());
    cases.add(OpCase.of("pixels", new Flip(List.of(-1, 2)), Input.normal(2, 3, 4, 5)));
    cases.add(OpCase.of("no axis", new Flip(List.of()), Input.normal(3, 5)));
    cases.add(OpCase.of("integers", new Flip(List.of(1)), Input.integers(99, 3, 5)));
    cases.add(
        OpCase.of("one axis", new Roll(List.of(2), List.of(-1)), Input.normal(3, 5))
            .withSecondOrder());
    cases.add(
        OpCase.of("beyond and back", new Roll(List.of(7, -1), List.of(0, 2)), Input.normal(3, 2, 5))
            .noEmpty());
    cases.add(
        OpCase.of(
            "channels last", new Roll(List.of(1, -2), List.of(2, 3)), Input.normal(2, 8, 3, 5)));
    cases.add(OpCase.of("whole", new Sequence(-2, 3, ErrorCase.spec(DType.I64, 7))));
    cases.add(OpCase.of("fractions", new Sequence(0.25, 0.125, ErrorCase.spec(DType.F32, 70))));
  }

  private static void choices(List<OpCase> cases) {
    cases.add(
        OpCase.of("last axis", new Gather(-1), Input.normal(3, 5), Input.integers(5, 3, 7))
            .withSecondOrder());
    cases.add(
        OpCase.of(
            "middle axis, smaller",
            new Gather(1),
            Input.normal(3, 4, 5),
            Input.integers(4, 2, 6, 3)));
    cases.add(
        OpCase.of("first axis", new Gather(0), Input.normal(4, 5), Input.integers(4, 2, 5))
            .noEmpty());
    cases.add(
        OpCase.of("integers", new Gather(1), Input.integers(99, 3, 4), Input.integers(4, 3, 2)));
    cases.add(
        OpCase.of(
                "repetitions",
                new ScatterAdd(1),
                Input.normal(3, 4),
                Input.integers(4, 3, 9),
                Input.normal(3, 9))
            .withSecondOrder());
    cases.add(
        OpCase.of(
                "first axis, smaller",
                new ScatterAdd(0),
                Input.normal(4, 5),
                Input.integers(4, 6, 3),
                Input.normal(6, 3))
            .noEmpty());
    cases.add(
        OpCase.of(
            "integers",
            new ScatterAdd(-1),
            Input.integers(9, 3, 4),
            Input.integers(4, 3, 5),
            Input.integers(9, 3, 5)));
  }

  private static Pad pad(Pad.Mode mode, double value, int... pairs) {
    List<Integer> before = new ArrayList<>();
    List<Integer> after = new ArrayList<>();
    for (int i = 0; i < pairs.length; i += 2) {
      before.add(pairs[i]);
      after.add(pairs[i + 1]);
    }
    return new Pad(before, after, mode, value);
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
        ErrorCase.of(
            new Concat(0, List.of(0, 0)), List.of(f32(3, 2), f32(3, 2)), "hold each axis once"),
        ErrorCase.of(
            new Split(0, List.of(2, 2), List.of(0, 1)), List.of(f32(3, 2)), "sizes must sum to 3"),
        ErrorCase.of(new IndexSelect(0), List.of(f32(3, 2), f32(3)), "i64 or i32"),
        ErrorCase.of(
            new IndexSelect(0), List.of(f32(3, 2), spec(DType.I64, 3, 1)), "must have rank 1"),
        ErrorCase.of(
            new IndexSelect(0), List.of(f32(0, 2), spec(DType.I64, 3)), "[0, 0)", "0 is 0"),
        ErrorCase.of(
            new IndexAdd(0, 4), List.of(f32(3, 2), spec(DType.I64, 2)), "must have shape [3]"),
        ErrorCase.of(new IndexAdd(0, 0), List.of(f32(3, 2), spec(DType.I64, 3)), "[0, 0)"),
        ErrorCase.of(pad(Pad.Mode.CONSTANT, 0, 1, 1), List.of(f32(3, 2)), "one pair per dimension"),
        ErrorCase.of(pad(Pad.Mode.CONSTANT, 0, 1, -1), List.of(f32(3)), "not be negative"),
        ErrorCase.of(pad(Pad.Mode.REFLECT, 0, 1, 3), List.of(f32(3)), "below the size 3", "got 3"),
        ErrorCase.of(pad(Pad.Mode.REPLICATE, 0, 1, 3), List.of(f32(0)), "nothing to replicate"),
        ErrorCase.of(
            new PadBackward(pad(Pad.Mode.REFLECT, 0, 1, 1), Shape.of(3)),
            List.of(f32(4)),
            "must have shape [5]"),
        ErrorCase.of(
            new PadBackward(pad(Pad.Mode.CONSTANT, 0, 1, 1), Shape.of(3)),
            List.of(f32(5)),
            "a slice as its adjoint"),
        ErrorCase.of(new Flip(List.of(0, 0)), List.of(f32(3)), "distinct"),
        ErrorCase.of(new Roll(List.of(1), List.of(2)), List.of(f32(3)), "axis"),
        ErrorCase.of(new Roll(List.of(1, 2), List.of(0)), List.of(f32(3)), "one shift per axis"),
        ErrorCase.of(new Gather(0), List.of(f32(3, 2), f32(3, 2)), "i64 or i32"),
        ErrorCase.of(new Gather(0), List.of(f32(3, 2), spec(DType.I64, 3)), "rank"),
        ErrorCase.of(new Gather(0), List.of(f32(3, 2), spec(DType.I64, 3, 3)), "larger", "axis 0"),
        ErrorCase.of(new Gather(0), List.of(f32(0, 2), spec(DType.I64, 3, 2)), "[0, 0)"),
        ErrorCase.of(new ScatterAdd(0), List.of(f32(3), spec(DType.I64, 2), f32(3)), "one shape"),
        ErrorCase.of(
            new ScatterAdd(0), List.of(f32(3), spec(DType.I64, 2), spec(DType.I64, 2)), "one type"),
        ErrorCase.of(new ScatterAdd(0), List.of(f32(0), spec(DType.I64, 2), f32(2)), "[0, 0)"));
  }
}
