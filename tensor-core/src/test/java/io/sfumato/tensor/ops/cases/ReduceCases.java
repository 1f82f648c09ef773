// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops.cases;

import static io.sfumato.tensor.ops.cases.ErrorCase.f32;
import static io.sfumato.tensor.ops.cases.ErrorCase.spec;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.ops.ArgReduce;
import io.sfumato.tensor.ops.ProdBackward;
import io.sfumato.tensor.ops.Reduce;
import java.util.ArrayList;
import java.util.List;

/** Reductions. */
final class ReduceCases implements CaseTable {
  @Override
  public List<OpCase> cases() {
    List<OpCase> cases = new ArrayList<>();
    for (Reduce.Kind kind : Reduce.Kind.values()) {
      cases.add(reduce("everything", kind, List.of(), false, 3, 5));
      cases.add(reduce("rows", kind, List.of(-1), false, 3, 37));
      cases.add(reduce("columns", kind, List.of(0), true, 5, 19));
      cases.add(reduce("middle", kind, List.of(1), false, 3, 4, 5));
      cases.add(reduce("outer and inner", kind, List.of(0, 2), true, 3, 4, 5));
      cases.add(reduce("positions of a feature map", kind, List.of(2, 3), false, 2, 8, 3, 4));
      cases.add(reduce("an axis of size 1", kind, List.of(0), false, 1, 5));
      cases.add(reduce("one element", kind, List.of(), true, 1, 1));
      cases.add(reduce("a scalar", kind, List.of(), false));
      if (kind != Reduce.Kind.MEAN) {
        cases.add(
            OpCase.of("integers", new Reduce(kind, List.of(0), false), Input.integers(4, 3, 4))
                .noEmpty());
      }
    }
    Reduce prod = new Reduce(Reduce.Kind.PROD, List.of(1), false);
    Input zeros = Input.values(new double[] {2, 0, 3, 0, 0, 4, 1, 2, 3}, 3, 3);
    cases.add(OpCase.of("zeros", prod, zeros).withSecondOrder());
    cases.add(
        OpCase.of("zeros", new ProdBackward(List.of(1)), zeros, Input.normal(3, 1)).noEmpty());
    cases.add(
        OpCase.of(
                "middle axis",
                new ProdBackward(List.of(1)),
                Input.positive(2, 3, 4),
                Input.normal(2, 1, 4))
            .noEmpty());
    for (boolean max : new boolean[] {true, false}) {
      cases.add(OpCase.of("rows", new ArgReduce(max, -1, false), Input.distinct(5, 37)));
      cases.add(OpCase.of("columns", new ArgReduce(max, 0, true), Input.distinct(5, 7)).noEmpty());
      cases.add(OpCase.of("middle", new ArgReduce(max, 1, false), Input.distinct(3, 4, 5)));
      cases.add(OpCase.of("ties", new ArgReduce(max, 1, false), Input.integers(2, 5, 9)));
    }
    return cases;
  }

  private static OpCase reduce(
      String name, Reduce.Kind kind, List<Integer> axes, boolean keep, int... shape) {
    boolean extremum = kind == Reduce.Kind.MAX || kind == Reduce.Kind.MIN;
    boolean truth = kind == Reduce.Kind.ANY || kind == Reduce.Kind.ALL;
    Input x =
        extremum
            ? Input.distinct(shape)
            : truth
                ? Input.bools(shape)
                : kind == Reduce.Kind.PROD ? Input.positive(shape) : Input.normal(shape);
    OpCase c = OpCase.of(name, new Reduce(kind, axes, keep), x);
    c = kind == Reduce.Kind.MEAN || extremum ? c.noEmpty() : c;
    return truth ? c : c.withSecondOrder();
  }

  @Override
  public List<ErrorCase> errors() {
    return List.of(
        ErrorCase.of(
            new Reduce(Reduce.Kind.SUM, List.of(2), false), List.of(f32(2, 3)), "axis", "[2, 3]"),
        ErrorCase.of(
            new Reduce(Reduce.Kind.SUM, List.of(1, -1), false), List.of(f32(2, 3)), "distinct"),
        ErrorCase.of(
            new Reduce(Reduce.Kind.MEAN, List.of(), false),
            List.of(spec(DType.I64, 2)),
            "floating"),
        ErrorCase.of(new Reduce(Reduce.Kind.MAX, List.of(1), false), List.of(f32(2, 0)), "empty"),
        ErrorCase.of(new ArgReduce(true, 1, false), List.of(f32(2, 0)), "empty"),
        ErrorCase.of(new ArgReduce(true, 3, false), List.of(f32(2, 0)), "axis"));
  }
}
