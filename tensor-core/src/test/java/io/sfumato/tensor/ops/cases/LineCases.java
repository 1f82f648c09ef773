// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops.cases;

import static io.sfumato.tensor.ops.cases.ErrorCase.f32;
import static io.sfumato.tensor.ops.cases.ErrorCase.spec;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.ops.CumSum;
import io.sfumato.tensor.ops.LogSoftmax;
import io.sfumato.tensor.ops.LogSoftmaxBackward;
import io.sfumato.tensor.ops.LogSumExp;
import io.sfumato.tensor.ops.PutAlong;
import io.sfumato.tensor.ops.Softmax;
import io.sfumato.tensor.ops.SoftmaxBackward;
import io.sfumato.tensor.ops.Sort;
import io.sfumato.tensor.ops.TakeAlong;
import io.sfumato.tensor.ops.TopK;
import io.sfumato.tensor.ops.Variance;
import java.util.ArrayList;
import java.util.List;

/** Ops along axes that are more than a sum: variance, softmax, running sums, sorting. */
final class LineCases implements CaseTable {
  @Override
  public List<OpCase> cases() {
    List<OpCase> cases = new ArrayList<>();
    for (boolean root : new boolean[] {false, true}) {
      cases.add(
          OpCase.of("unbiased rows", new Variance(List.of(1), 1, false, root), Input.normal(3, 7))
              .withSecondOrder());
      cases.add(
          OpCase.of("biased, all", new Variance(List.of(), 0, true, root), Input.normal(3, 4, 2))
              .noEmpty());
      cases.add(
          OpCase.of("maps", new Variance(List.of(0, 2), 0, true, root), Input.normal(3, 4, 2))
              .noEmpty());
    }
    for (boolean reversed : new boolean[] {false, true}) {
      cases.add(OpCase.of("rows", new CumSum(-1, reversed), Input.normal(3, 7)));
      cases.add(OpCase.of("middle", new CumSum(1, reversed), Input.normal(2, 3, 4)));
      cases.add(OpCase.of("integers", new CumSum(0, reversed), Input.integers(9, 5)));
    }
    cases.add(
        OpCase.of("rows", new LogSumExp(List.of(-1), false), Input.normal(3, 37))
            .withSecondOrder());
    cases.add(
        OpCase.of("large values", new LogSumExp(List.of(1), true), Input.uniform(100, 300, 3, 7)));
    cases.add(
        OpCase.of("outer and inner", new LogSumExp(List.of(0, 2), true), Input.normal(2, 3, 4))
            .noEmpty());
    for (int axis = 0; axis < 3; axis++) {
      String name = "axis " + axis;
      Input x = Input.normal(3, 4, 18);
      cases.add(OpCase.of(name, new Softmax(axis), x).withSecondOrder().noEmpty());
      cases.add(OpCase.of(name, new LogSoftmax(axis), x).withSecondOrder().noEmpty());
      cases.add(OpCase.of(name, new SoftmaxBackward(axis), x, x).noEmpty());
      cases.add(OpCase.of(name, new LogSoftmaxBackward(axis), x, x).noEmpty());
    }
    cases.add(OpCase.of("large values", new Softmax(1), Input.uniform(-300, 300, 3, 7)));
    cases.add(OpCase.of("large values", new LogSoftmax(1), Input.uniform(-300, 300, 3, 7)));
    for (boolean up : new boolean[] {true, false}) {
      cases.add(OpCase.of("rows", new Sort(-1, !up), Input.distinct(3, 9)));
      cases.add(OpCase.of("middle", new Sort(1, !up), Input.distinct(2, 5, 3)));
      cases.add(OpCase.of("ties", new Sort(0, !up), Input.integers(3, 8)));
      cases.add(OpCase.of("rows", new TopK(3, -1, up), Input.distinct(3, 9)));
      cases.add(OpCase.of("middle", new TopK(2, 1, up), Input.distinct(2, 5, 3)));
      cases.add(OpCase.of("ties", new TopK(5, 0, up), Input.integers(3, 8)).noEmpty());
    }
    Input index = Input.values(new double[] {4, 0, 2, 1, 3, 0}, 2, 3).as(DType.I64);
    cases.add(OpCase.of("rows", new TakeAlong(1), Input.normal(2, 5), index).noEmpty());
    cases.add(OpCase.of("rows", new PutAlong(1, 5), Input.normal(2, 3), index).noEmpty());
    Input columns = Input.values(new double[] {1, 0, 0, 1}, 2, 2).as(DType.I64);
    cases.add(OpCase.of("columns", new TakeAlong(0), Input.normal(3, 2), columns).noEmpty());
    cases.add(OpCase.of("columns", new PutAlong(0, 3), Input.normal(2, 2), columns).noEmpty());
    return cases;
  }

  @Override
  public List<ErrorCase> errors() {
    return List.of(
        ErrorCase.of(
            new Variance(List.of(), 0, false, true), List.of(spec(DType.I64, 2)), "floating"),
        ErrorCase.of(new CumSum(2, false), List.of(f32(2, 3)), "axis"),
        ErrorCase.of(new LogSumExp(List.of(), false), List.of(spec(DType.I64, 2)), "floating"),
        ErrorCase.of(new Softmax(2), List.of(f32(2, 3)), "axis"),
        ErrorCase.of(new Softmax(0), List.of(spec(DType.I64, 2)), "floating"),
        ErrorCase.of(new LogSoftmax(0), List.of(spec(DType.I64, 2)), "floating"),
        ErrorCase.of(new SoftmaxBackward(0), List.of(f32(2), f32(3)), "one shape"),
        ErrorCase.of(
            new LogSoftmaxBackward(0), List.of(f32(2), spec(DType.F64, 2)), "one floating type"),
        ErrorCase.of(new Sort(1, true), List.of(f32(2)), "axis"),
        ErrorCase.of(new TopK(3, 0, true), List.of(f32(2)), "k must be", "3"),
        ErrorCase.of(new TakeAlong(0), List.of(f32(2), f32(2)), "i64"),
        ErrorCase.of(new TakeAlong(0), List.of(f32(2, 3), spec(DType.I64, 2, 2)), "along the axis"),
        ErrorCase.of(new PutAlong(0, 4), List.of(f32(2), spec(DType.I64, 3)), "input's shape"));
  }
}
