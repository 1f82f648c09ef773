// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops.cases;

import static io.sfumato.tensor.ops.cases.ErrorCase.f32;
import static io.sfumato.tensor.ops.cases.ErrorCase.spec;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.ops.AdaptiveAvgPool2d;
import io.sfumato.tensor.ops.AvgPool2d;
import io.sfumato.tensor.ops.Dropout;
import io.sfumato.tensor.ops.MaxPool2d;
import io.sfumato.tensor.ops.ResampleBackward;
import io.sfumato.tensor.ops.UpsampleBilinear;
import io.sfumato.tensor.ops.UpsampleNearest;
import java.util.ArrayList;
import java.util.List;

/** Enlarging, shrinking, pooling, dropping. */
final class ResamplingCases implements CaseTable {
  @Override
  public List<OpCase> cases() {
    List<OpCase> cases = new ArrayList<>();
    UpsampleNearest twice = new UpsampleNearest(List.of(6, 8));
    cases.add(OpCase.of("twice", twice, Input.normal(2, 5, 3, 4)).withSecondOrder());
    cases.add(OpCase.of("many channels", twice, Input.normal(1, 67, 3, 4)));
    cases.add(OpCase.of("odd", new UpsampleNearest(List.of(5, 3)), Input.normal(1, 2, 3, 7)));
    cases.add(OpCase.of("line", new UpsampleNearest(List.of(8)), Input.normal(2, 3, 4)));
    cases.add(
        OpCase.of("volume", new UpsampleNearest(List.of(4, 2, 6)), Input.normal(1, 2, 2, 1, 3)));
    cases.add(OpCase.of("integers", twice, Input.integers(99, 2, 2, 3, 4)));
    cases.add(
        OpCase.of("nearest", new ResampleBackward(twice, List.of(3, 4)), Input.normal(2, 17, 6, 8))
            .withSecondOrder());
    cases.add(
        OpCase.of(
            "nearest volume",
            new ResampleBackward(new UpsampleNearest(List.of(4, 2, 6)), List.of(2, 1, 3)),
            Input.normal(1, 2, 4, 2, 6)));
    for (boolean align : new boolean[] {true, false}) {
      UpsampleBilinear up = new UpsampleBilinear(List.of(7, 5), align);
      cases.add(OpCase.of("larger", up, Input.normal(2, 3, 4, 4)).withSecondOrder());
      cases.add(OpCase.of("mixed", up, Input.normal(1, 19, 9, 2)));
      cases.add(OpCase.of("one pixel", up, Input.normal(1, 2, 1, 1)));
      cases.add(
          OpCase.of(
              "to one pixel",
              new UpsampleBilinear(List.of(1, 1), align),
              Input.normal(1, 2, 3, 4)));
      cases.add(
          OpCase.of("bilinear", new ResampleBackward(up, List.of(4, 9)), Input.normal(2, 3, 7, 5)));
    }
    AvgPool2d half = new AvgPool2d(List.of(2, 2), List.of(2, 2), List.of(0, 0), true);
    cases.add(OpCase.of("halve", half, Input.normal(2, 3, 4, 6)).withSecondOrder());
    cases.add(OpCase.of("rest", half, Input.normal(2, 18, 5, 7)));
    cases.add(
        OpCase.of("average", new ResampleBackward(half, List.of(5, 7)), Input.normal(2, 3, 2, 3)));
    for (boolean count : new boolean[] {true, false}) {
      cases.add(
          OpCase.of(
              count ? "padding counts" : "padding does not count",
              new AvgPool2d(List.of(3, 2), List.of(2, 1), List.of(1, 1), count),
              Input.normal(2, 3, 5, 4)));
    }
    cases.add(OpCase.of("global", new AdaptiveAvgPool2d(List.of(1, 1)), Input.normal(2, 3, 4, 5)));
    cases.add(
        OpCase.of("uneven", new AdaptiveAvgPool2d(List.of(3, 2)), Input.normal(1, 2, 5, 7))
            .withSecondOrder());
    cases.add(OpCase.of("grow", new AdaptiveAvgPool2d(List.of(3, 4)), Input.normal(1, 2, 2, 2)));
    MaxPool2d max = maxPool(2, 2, 0, 1);
    cases.add(OpCase.of("halve", max, Input.distinct(2, 3, 4, 6)));
    cases.add(OpCase.of("overlap", maxPool(3, 2, 1, 1), Input.distinct(2, 17, 5, 6)));
    cases.add(OpCase.of("dilated", maxPool(2, 1, 1, 2), Input.distinct(1, 2, 5, 4)));
    cases.add(
        OpCase.of("ties", max, Input.integers(3, 2, 3, 4, 4).as(DType.F32)).noGradient("ties"));
    cases.add(
        OpCase.of(
                "not a number",
                max,
                Input.values(new double[] {1, Double.NaN, 2, Double.NaN}, 1, 1, 2, 2).as(DType.F32))
            .noGradient("not a number")
            .noEmpty());
    cases.add(OpCase.of("half", new Dropout(0.5, 77), Input.normal(5, 13)).withSecondOrder());
    cases.add(OpCase.of("feature map", new Dropout(0.1, 78), Input.normal(2, 9, 5, 7)));
    cases.add(OpCase.of("all", new Dropout(1, 79), Input.normal(5, 13)));
    return cases;
  }

  private static MaxPool2d maxPool(int kernel, int stride, int padding, int dilation) {
    return new MaxPool2d(
        List.of(kernel, kernel),
        List.of(stride, stride),
        List.of(padding, padding),
        List.of(dilation, dilation));
  }

  @Override
  public List<ErrorCase> errors() {
    AvgPool2d pool = new AvgPool2d(List.of(3, 3), List.of(1, 1), List.of(0, 0), true);
    return List.of(
        ErrorCase.of(new UpsampleNearest(List.of(4, 4)), List.of(f32(2, 3, 4)), "4 dimensions"),
        ErrorCase.of(new UpsampleNearest(List.of(0, 4)), List.of(f32(1, 2, 2, 2)), "positive"),
        ErrorCase.of(
            new UpsampleBilinear(List.of(4, 4), true),
            List.of(spec(DType.I64, 1, 2, 2, 2)),
            "floating"),
        ErrorCase.of(
            new UpsampleBilinear(List.of(4, -1), true), List.of(f32(1, 2, 2, 2)), "positive"),
        ErrorCase.of(
            new ResampleBackward(new UpsampleNearest(List.of(4, 4)), List.of(2, 2)),
            List.of(f32(1, 2, 4, 5)),
            "dimension 3 of the gradient must be 4"),
        ErrorCase.of(pool, List.of(f32(1, 2, 2, 5)), "window (3)", "padded input (2)"),
        ErrorCase.of(pool, List.of(f32(1, 2, 0, 5)), "must not be empty"),
        ErrorCase.of(
            new AvgPool2d(List.of(2, 2), List.of(1, 1), List.of(2, 0), true),
            List.of(f32(1, 2, 5, 5)),
            "half of the kernel 2"),
        ErrorCase.of(
            new AvgPool2d(List.of(2, 2), List.of(0, 1), List.of(0, 0), true),
            List.of(f32(1, 2, 5, 5)),
            "must be positive"),
        ErrorCase.of(new AdaptiveAvgPool2d(List.of(0, 1)), List.of(f32(1, 2, 5, 5)), "positive"));
  }
}
