// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops.cases;

import static io.sfumato.tensor.ops.cases.ErrorCase.f32;
import static io.sfumato.tensor.ops.cases.ErrorCase.spec;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.ops.BinaryCrossEntropy;
import io.sfumato.tensor.ops.CrossEntropy;
import io.sfumato.tensor.ops.CrossEntropyBackward;
import io.sfumato.tensor.ops.Elu;
import io.sfumato.tensor.ops.LeakyRelu;
import io.sfumato.tensor.ops.Mse;
import io.sfumato.tensor.ops.MseBackward;
import io.sfumato.tensor.ops.Reduction;
import io.sfumato.tensor.ops.Softplus;
import java.util.ArrayList;
import java.util.List;

/** Activations with parameters and losses. */
final class LossCases implements CaseTable {
  private static final double INF = Double.POSITIVE_INFINITY;

  @Override
  public List<OpCase> cases() {
    List<OpCase> cases = new ArrayList<>();
    Input kinked = Input.distinct(5, 9);
    cases.add(OpCase.of("matrix", new LeakyRelu(0.2), kinked).withSecondOrder());
    cases.add(OpCase.of("matrix", new Elu(0.5), kinked).withSecondOrder());
    cases.add(OpCase.of("large values", new Elu(1), Input.uniform(-90, 90, 5, 9)));
    cases.add(OpCase.of("standard", new Softplus(1, 20), Input.normal(5, 9)).withSecondOrder());
    cases.add(OpCase.of("sharp", new Softplus(2, 1), Input.distinct(5, 9)));
    cases.add(OpCase.of("large values", new Softplus(1, INF), Input.uniform(-90, 90, 5, 9)));
    Input normal = Input.normal(3, 7);
    for (Reduction reduction : Reduction.values()) {
      String name = reduction.name();
      cases.add(OpCase.of(name, new Mse(reduction), normal, normal).noEmpty().withSecondOrder());
      Input g = reduction == Reduction.NONE ? Input.normal(3, 7) : Input.normal();
      cases.add(OpCase.of(name, new MseBackward(reduction), normal, normal, g).noEmpty());
    }
    cases.add(
        OpCase.of("long", new Mse(Reduction.MEAN), Input.normal(3, 4, 67), Input.normal(3, 4, 67))
            .noEmpty());
    cases.add(
        OpCase.of(
                "probabilities",
                new BinaryCrossEntropy(),
                Input.uniform(0.05, 0.95, 4, 5),
                Input.uniform(0, 1, 4, 5))
            .withSecondOrder());
    crossEntropy(cases);
    return cases;
  }

  private static void crossEntropy(List<OpCase> cases) {
    Input logits = Input.normal(4, 7);
    Input classes = Input.integers(7, 4);
    Input weights = Input.positive(7);
    for (Reduction reduction : Reduction.values()) {
      String name = reduction.name();
      Input g = reduction == Reduction.NONE ? Input.normal(4) : Input.normal();
      CrossEntropy plain = new CrossEntropy(-100, 0, reduction);
      cases.add(OpCase.of(name, plain, logits, classes).noEmpty().withSecondOrder());
      cases.add(OpCase.of(name, new CrossEntropyBackward(plain), logits, classes, g).noEmpty());
      CrossEntropy full = new CrossEntropy(2, 0.1, reduction);
      cases.add(
          OpCase.of(name + ", weights, smoothing, ignored", full, logits, classes, weights)
              .constants(2)
              .noEmpty()
              .withSecondOrder());
      cases.add(
          OpCase.of(
                  name + ", weights, smoothing, ignored",
                  new CrossEntropyBackward(full),
                  logits,
                  classes,
                  g,
                  weights)
              .constants(3)
              .noEmpty());
    }
    CrossEntropy plain = new CrossEntropy(-100, 0.05, Reduction.MEAN);
    cases.add(
        OpCase.of("image", plain, Input.normal(2, 5, 3, 4), Input.integers(5, 2, 3, 4)).noEmpty());
    cases.add(
        OpCase.of(
                "image",
                new CrossEntropyBackward(plain),
                Input.normal(2, 5, 3, 4),
                Input.integers(5, 2, 3, 4),
                Input.normal())
            .noEmpty());
    cases.add(
        OpCase.of(
                "one sample", plain, Input.normal(5), Input.values(new double[] {3}).as(DType.I64))
            .noEmpty());
  }

  @Override
  public List<ErrorCase> errors() {
    CrossEntropy plain = new CrossEntropy(-100, 0, Reduction.MEAN);
    return List.of(
        ErrorCase.of(new LeakyRelu(0.2), List.of(spec(DType.I64, 2)), "floating"),
        ErrorCase.of(new Elu(1), List.of(spec(DType.I64, 2)), "floating"),
        ErrorCase.of(new Softplus(1, 20), List.of(spec(DType.I64, 2)), "floating"),
        ErrorCase.of(new Mse(Reduction.MEAN), List.of(f32(2), f32(3)), "one shape"),
        ErrorCase.of(
            new Mse(Reduction.MEAN), List.of(f32(2), spec(DType.F64, 2)), "one floating type"),
        ErrorCase.of(new MseBackward(Reduction.MEAN), List.of(f32(2), f32(2), f32(2)), "one shape"),
        ErrorCase.of(new BinaryCrossEntropy(), List.of(f32(2), f32(3)), "one shape"),
        ErrorCase.of(plain, List.of(f32(2, 3), f32(2)), "i64"),
        ErrorCase.of(plain, List.of(f32(2, 3), spec(DType.I64, 3)), "without axis 1"),
        ErrorCase.of(plain, List.of(f32(2, 3), spec(DType.I64, 2), f32(2)), "weights must be [C]"),
        ErrorCase.of(
            new CrossEntropy(-100, 2, Reduction.MEAN),
            List.of(f32(2, 3), spec(DType.I64, 2)),
            "smoothing"),
        ErrorCase.of(
            new CrossEntropy(-100, 0, Reduction.MEAN), List.of(f32(), spec(DType.I64)), "logits"),
        ErrorCase.of(
            new CrossEntropyBackward(plain),
            List.of(f32(2, 3), spec(DType.I64, 2), f32(2)),
            "shape of the loss"));
  }
}
