// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops.cases;

import static io.sfumato.tensor.ops.cases.ErrorCase.f32;
import static io.sfumato.tensor.ops.cases.ErrorCase.spec;
import static io.sfumato.tensor.ops.cases.Input.normal;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.ops.HadamardLowRank;
import io.sfumato.tensor.ops.HadamardLowRankGradients;
import io.sfumato.tensor.ops.Inverse;
import io.sfumato.tensor.ops.Linear;
import io.sfumato.tensor.ops.LowRank;
import io.sfumato.tensor.ops.LowRankGradients;
import io.sfumato.tensor.ops.MatMul;
import io.sfumato.tensor.ops.NearestCode;
import java.util.ArrayList;
import java.util.List;

/** Matrix products and linear layers. */
final class ProductCases implements CaseTable {
  private static final MatMul PLAIN = new MatMul(false, false);

  @Override
  public List<OpCase> cases() {
    List<OpCase> cases = new ArrayList<>();
    cases.add(OpCase.of("square", PLAIN, normal(4, 4), normal(4, 4)).withSecondOrder());
    cases.add(OpCase.of("odd", PLAIN, normal(3, 7), normal(7, 5)));
    cases.add(OpCase.of("tiles", PLAIN, normal(17, 33), normal(33, 70)));
    cases.add(OpCase.of("one row", PLAIN, normal(1, 6), normal(6, 3)));
    cases.add(OpCase.of("one column", PLAIN, normal(5, 4), normal(4, 1)));
    cases.add(OpCase.of("inner one", PLAIN, normal(3, 1), normal(1, 4)));
    cases.add(OpCase.of("empty inner", PLAIN, normal(2, 0), normal(0, 3)));
    cases.add(OpCase.of("batch", PLAIN, normal(2, 3, 4), normal(2, 4, 5)));
    cases.add(OpCase.of("batch by matrix", PLAIN, normal(2, 3, 4), normal(4, 5)));
    cases.add(OpCase.of("matrix by batch", PLAIN, normal(3, 4), normal(2, 4, 5)));
    cases.add(OpCase.of("broadcast", PLAIN, normal(2, 1, 3, 4), normal(3, 4, 2)));
    cases.add(OpCase.of("two batch axes", PLAIN, normal(2, 3, 3, 5), normal(2, 3, 5, 4)));
    cases.add(OpCase.of("left", new MatMul(true, false), normal(4, 3), normal(4, 5)));
    cases.add(
        OpCase.of("right", new MatMul(false, true), normal(3, 4), normal(5, 4)).withSecondOrder());
    cases.add(OpCase.of("both", new MatMul(true, true), normal(4, 3), normal(5, 4)));
    cases.add(OpCase.of("batch, right", new MatMul(false, true), normal(2, 3, 8), normal(2, 5, 8)));
    cases.add(OpCase.of("batch, both", new MatMul(true, true), normal(3, 4, 3), normal(5, 4)));
    Linear biased = new Linear(true);
    cases.add(OpCase.of("matrix", biased, normal(3, 4), normal(5, 4), normal(5)).withSecondOrder());
    cases.add(OpCase.of("tokens", biased, normal(2, 3, 4), normal(5, 4), normal(5)));
    cases.add(OpCase.of("wide", biased, normal(19, 37), normal(67, 37), normal(67)));
    cases.add(OpCase.of("vector", biased, normal(4), normal(3, 4), normal(3)).noEmpty());
    cases.add(OpCase.of("no bias", new Linear(false), normal(2, 3, 4), normal(1, 4)));
    lowRank(cases);
    hadamard(cases);
    nearestCode(cases);
    inverse(cases);
    return cases;
  }

  /** Matrices that need their rows exchanged, and batches. */
  private static void inverse(List<OpCase> cases) {
    Inverse op = new Inverse();
    Input exchanged = Input.values(new double[] {0, 2, 1, 1, 0.5, 0, 0, 1, 3}, 3, 3);
    cases.add(OpCase.of("exchange", op, exchanged).withSecondOrder().noEmpty());
    cases.add(OpCase.of("number", op, Input.values(new double[] {2}, 1, 1)).noEmpty());
    double[] two = {4, 1, -1, 3, 1, -2, 0.5, 2};
    cases.add(OpCase.of("batch", op, Input.values(two, 2, 2, 2)));
    double[] six = new double[2 * 6 * 6];
    for (int i = 0; i < six.length; i++) {
      six[i] = Math.sin(7 * i + 1) + (i / 6 % 6 == i % 6 ? 4 : 0);
    }
    cases.add(OpCase.of("two of six", op, Input.values(six, 2, 1, 6, 6)));
  }

  /** Codes that are few and many, equal, far from the origin; vectors between two codes. */
  private static void nearestCode(List<OpCase> cases) {
    NearestCode op = new NearestCode();
    cases.add(OpCase.of("rows", op, normal(5, 3), normal(7, 3)));
    cases.add(OpCase.of("one vector", op, normal(4), normal(6, 4)).noEmpty());
    cases.add(OpCase.of("one code", op, normal(3, 2, 4), normal(1, 4)));
    cases.add(OpCase.of("maps", op, normal(2, 3, 5, 8), normal(33, 8)));
    cases.add(OpCase.of("blocks", op, normal(131, 19), normal(70, 19)));
    cases.add(OpCase.of("length one", op, normal(9, 1), normal(17, 1)));
    cases.add(OpCase.of("equal codes", op, normal(6, 2), Input.values(new double[12], 6, 2)));
    Input grid = Input.values(new double[] {2, 0, 1, 0, 0, 0, 1, 1, 1, 0}, 5, 2);
    Input between = Input.values(new double[] {0.5, 0, 1.5, 0, 1, 0.5, 1, 0, 0, 1}, 5, 2);
    cases.add(OpCase.of("ties", op, between, grid).noEmpty());
    cases.add(OpCase.of("far", op, Input.uniform(100, 101, 40, 5), Input.uniform(100, 101, 50, 5)));
    cases.add(OpCase.of("empty vectors", op, normal(4, 0), normal(3, 0)));
  }

  /** Few rows and many, which take different orders of the products; ranks about a vector. */
  private static void lowRank(List<OpCase> cases) {
    LowRank biased = new LowRank(2, true);
    cases.add(
        OpCase.of(
                "few rows",
                biased,
                normal(2, 4),
                normal(5, 4),
                normal(2, 4),
                normal(5, 2),
                normal(5))
            .withSecondOrder());
    LowRank plain = new LowRank(-0.5, false);
    cases.add(
        OpCase.of("many rows", plain, normal(3, 7, 4), normal(5, 4), normal(3, 4), normal(5, 3)));
    cases.add(OpCase.of("rank one", plain, normal(3, 6), normal(2, 6), normal(1, 6), normal(2, 1)));
    cases.add(
        OpCase.of(
            "vectors", plain, normal(35, 32), normal(48, 32), normal(17, 32), normal(48, 17)));
    cases.add(
        OpCase.of(
            "few rows, wide", plain, normal(3, 32), normal(48, 32), normal(8, 32), normal(48, 8)));
    LowRankGradients gradients = new LowRankGradients(1.5);
    cases.add(
        OpCase.of("odd", gradients, normal(3, 5), normal(3, 4), normal(2, 4), normal(5, 2))
            .withSecondOrder());
    cases.add(
        OpCase.of(
            "tokens", gradients, normal(2, 3, 16), normal(2, 3, 32), normal(4, 32), normal(16, 4)));
    cases.add(
        OpCase.of(
                "blocks",
                gradients,
                normal(600, 16),
                normal(600, 32),
                normal(17, 32),
                normal(16, 17))
            .noGradient(
                "as in the smaller cases; numerical differences of so many inputs take long"));
  }

  /** Ranks and sizes about a tile, and none of that. */
  private static void hadamard(List<OpCase> cases) {
    HadamardLowRank op = new HadamardLowRank(1.5);
    cases.add(
        OpCase.of(
                "small",
                op,
                normal(2, 3, 4),
                normal(5, 2),
                normal(2, 4),
                normal(5, 2),
                normal(2, 4))
            .withSecondOrder());
    cases.add(
        OpCase.of(
            "rank one", op, normal(3, 6), normal(2, 1), normal(1, 6), normal(2, 1), normal(1, 6)));
    OpCase tiles =
        OpCase.of(
            "tiles",
            op,
            normal(9, 33),
            normal(66, 17),
            normal(17, 33),
            normal(66, 17),
            normal(17, 33));
    cases.add(tiles.noGradient("as in the smaller cases"));
    HadamardLowRankGradients gradients = new HadamardLowRankGradients(0.5);
    cases.add(
        OpCase.of(
                "small",
                gradients,
                normal(2, 3, 5),
                normal(2, 3, 4),
                normal(5, 2),
                normal(2, 4),
                normal(5, 2),
                normal(2, 4))
            .withSecondOrder());
    cases.add(
        OpCase.of(
                "tiles",
                gradients,
                normal(40, 66),
                normal(40, 33),
                normal(66, 17),
                normal(17, 33),
                normal(66, 17),
                normal(17, 33))
            .noGradient("as in the smaller cases"));
  }

  @Override
  public List<ErrorCase> errors() {
    return List.of(
        ErrorCase.of(
            new HadamardLowRank(1),
            List.of(f32(2, 3), f32(4, 2), f32(2, 5), f32(4, 2), f32(2, 5)),
            "B1 [r, in] with in = 3"),
        ErrorCase.of(
            new HadamardLowRank(1),
            List.of(f32(2, 3), f32(4, 2), f32(2, 3), f32(4, 1), f32(2, 3)),
            "A2"),
        ErrorCase.of(
            new HadamardLowRankGradients(1),
            List.of(f32(2, 5), f32(2, 3), f32(4, 2), f32(2, 3), f32(4, 2), f32(2, 3)),
            "the result's shape [2, 4]"),
        ErrorCase.of(PLAIN, List.of(f32(2, 3), f32(4, 5)), "left has 3, right has 4"),
        ErrorCase.of(new MatMul(true, false), List.of(f32(2, 3), f32(3, 5)), "left is transposed"),
        ErrorCase.of(PLAIN, List.of(f32(3), f32(3, 5)), "must be matrices"),
        ErrorCase.of(new Inverse(), List.of(f32(2, 3)), "must be square"),
        ErrorCase.of(PLAIN, List.of(f32(2, 3, 4), f32(3, 4, 5)), "must broadcast"),
        ErrorCase.of(
            PLAIN, List.of(f32(2, 3), spec(DType.F64, 3, 2)), "must have one floating type"),
        ErrorCase.of(
            new Linear(false),
            List.of(f32(2, 3), f32(3, 4)),
            "weight must have shape [out, in] with in = 3"),
        ErrorCase.of(
            new Linear(true),
            List.of(f32(2, 3), f32(4, 3), f32(3)),
            "bias must have shape [out] = [4]"),
        ErrorCase.of(
            new LowRank(1, false),
            List.of(f32(2, 3), f32(4, 3), f32(2, 4), f32(4, 2)),
            "A must have shape [r, in] with in = 3"),
        ErrorCase.of(
            new LowRank(1, false),
            List.of(f32(2, 3), f32(4, 3), f32(2, 3), f32(4, 1)),
            "B must have shape [out, r] = [4, 2]"),
        ErrorCase.of(
            new LowRankGradients(1),
            List.of(f32(2, 4), f32(3, 3), f32(2, 3), f32(4, 2)),
            "gradient and input must be equal but for the last axis"),
        ErrorCase.of(
            new NearestCode(),
            List.of(f32(2, 3), f32(4, 2)),
            "the codebook must have shape [K, D] with D = 3"),
        ErrorCase.of(new NearestCode(), List.of(f32(2, 3), f32(3)), "must have shape [K, D]"),
        ErrorCase.of(new NearestCode(), List.of(f32(), f32(4, 2)), "must have shape [..., D]"),
        ErrorCase.of(new NearestCode(), List.of(f32(2, 3), f32(0, 3)), "at least one code"),
        ErrorCase.of(
            new NearestCode(),
            List.of(f32(2, 3), spec(DType.F64, 4, 3)),
            "must have one floating type"));
  }
}
