// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops.cases;

import static io.sfumato.tensor.ops.cases.ErrorCase.f32;
import static io.sfumato.tensor.ops.cases.ErrorCase.spec;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.ops.AdamWStep;
import io.sfumato.tensor.ops.AddInPlace;
import io.sfumato.tensor.ops.CopyAll;
import io.sfumato.tensor.ops.CopyInto;
import io.sfumato.tensor.ops.EmaStep;
import io.sfumato.tensor.ops.LionStep;
import io.sfumato.tensor.ops.SgdStep;
import io.sfumato.tensor.ops.SquaredNorm;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Updates in place and the norm of all gradients. */
final class UpdateCases implements CaseTable {
  @Override
  public List<OpCase> cases() {
    List<OpCase> cases = new ArrayList<>();
    Input a = Input.normal(3, 7);
    Input b = Input.normal(5);
    Input va = Input.positive(3, 7);
    Input vb = Input.positive(5);
    for (boolean decoupled : new boolean[] {true, false}) {
      AdamWStep op = new AdamWStep(2, 0.01, 0.9, 0.99, 1e-6, 0.1, decoupled, 3, 0.5);
      cases.add(
          OpCase.of("decoupled " + decoupled, op, a, b, a, b, a, b, va, vb).seed(7).noEmpty());
    }
    Input square = Input.positive().as(DType.F32);
    for (double maxNorm : new double[] {0.05, 1000}) {
      cases.add(
          OpCase.of("limit " + maxNorm, adam(2, maxNorm, null), a, b, a, b, a, b, va, vb, square)
              .seed(7)
              .noEmpty());
    }
    cases.add(
        OpCase.of("averages", adam(2, null, 0.9), a, b, a, b, a, b, va, vb, a, b)
            .seed(7)
            .noEmpty());
    cases.add(
        OpCase.of("limit, averages", adam(1, 0.05, 0.9), a, a, a, va, a, square).seed(7).noEmpty());
    cases.add(
        OpCase.of("two", new LionStep(2, 0.01, 0.9, 0.99, 0.1, 0.5), a, b, a, b, a, b).noEmpty());
    cases.add(OpCase.of("plain", new SgdStep(2, 0.1, 0, false, 0.01, 0.5), a, b, a, b).noEmpty());
    for (boolean nesterov : new boolean[] {true, false}) {
      SgdStep op = new SgdStep(2, 0.1, 0.9, nesterov, 0.01, 1);
      cases.add(OpCase.of("nesterov " + nesterov, op, a, b, a, b, a, b).noEmpty());
    }
    cases.add(OpCase.of("two", new EmaStep(2, 0.95), a, b, a, b).noEmpty());
    cases.add(OpCase.of("matrix", new AddInPlace(-0.5), a, a));
    cases.add(OpCase.of("sum", new AddInPlace(1), a, a));
    cases.add(OpCase.of("matrix", new CopyInto(), a, a));
    cases.add(OpCase.of("to bf16", new CopyInto(), a.as(DType.BF16), a).noHalf());
    cases.add(OpCase.of("integers", new CopyInto(), Input.integers(9, 4), Input.integers(5, 4)));
    cases.add(OpCase.of("two", new CopyAll(2), a, b, a, b).noEmpty());
    cases.add(
        OpCase.of("to bf16", new CopyAll(2), a.as(DType.BF16), b.as(DType.BF16), a, b)
            .noEmpty()
            .noHalf());
    cases.add(OpCase.of("two", new SquaredNorm(), a, b).noGradient("for clipping only"));
    return cases;
  }

  private static AdamWStep adam(int count, @Nullable Double maxNorm, @Nullable Double decay) {
    return new AdamWStep(count, 0.01, 0.9, 0.99, 1e-6, 0.1, true, 3, 0.5, maxNorm, decay);
  }

  @Override
  public List<ErrorCase> errors() {
    AdamWStep adam = adam(1, null, null);
    TensorSpec x = f32(2);
    TensorSpec one = spec(DType.F32);
    return List.of(
        ErrorCase.of(adam, List.of(f32(2), f32(2), f32(2)), "4 lists of 1"),
        ErrorCase.of(adam, List.of(f32(2), f32(2), f32(2), f32(3)), "one shape"),
        ErrorCase.of(adam(1, 1.0, null), List.of(x, x, x, x), "4 lists of 1"),
        ErrorCase.of(adam(1, null, 0.9), List.of(x, x, x, x, one), "one shape"),
        ErrorCase.of(adam(1, 1.0, null), List.of(x, x, x, x, x), "a scalar in f32"),
        ErrorCase.of(adam(1, 1.0, 0.9), List.of(x, x, x, x, one), "5 lists of 1"),
        ErrorCase.of(new EmaStep(1, 0.9), List.of(f32(2), spec(DType.I64, 2)), "must be floating"),
        ErrorCase.of(new LionStep(1, 0.1, 0.9, 0.9, 0, 1), List.of(f32(2)), "3 lists of 1"),
        ErrorCase.of(new SgdStep(1, 0.1, 0, false, 0, 1), List.of(f32(2)), "2 lists of 1"),
        ErrorCase.of(new AddInPlace(1), List.of(f32(2), f32(3)), "one shape"),
        ErrorCase.of(new AddInPlace(1), List.of(f32(2), spec(DType.I64, 2)), "floating"),
        ErrorCase.of(new CopyInto(), List.of(f32(2), f32(3)), "one shape"),
        ErrorCase.of(new CopyAll(1), List.of(f32(2), f32(3)), "one shape"),
        ErrorCase.of(new SquaredNorm(), List.of(f32(2), spec(DType.I64, 2)), "floating"));
  }
}
