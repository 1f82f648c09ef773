// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops.cases;

import static io.sfumato.tensor.ops.cases.ErrorCase.f32;
import static io.sfumato.tensor.ops.cases.Input.normal;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.ops.Conv2d;
import io.sfumato.tensor.ops.Conv2dBackwardInput;
import io.sfumato.tensor.ops.Conv2dBackwardWeight;
import io.sfumato.tensor.ops.Conv3d;
import io.sfumato.tensor.ops.Conv3dBackwardInput;
import io.sfumato.tensor.ops.Conv3dBackwardWeight;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.UpsampleConv2d;
import io.sfumato.tensor.ops.UpsampleConv2dBackwardWeight;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Convolutions over images and volumes with their adjoints. */
final class ConvolutionCases implements CaseTable {
  private static final ConvOptions PLAIN = flat(ConvOptions.of().stride(1, 1));
  private static final ConvOptions SAME = flat(ConvOptions.of().padding(1, 1));
  private static final ConvOptions VOLUME = deep(ConvOptions.of().padding(1, 1, 1));

  @Override
  public List<OpCase> cases() {
    List<OpCase> cases = new ArrayList<>();
    images(cases, "plain", PLAIN, shape(2, 3, 5, 6), shape(4, 3, 3, 3), true);
    images(cases, "same", SAME, shape(1, 3, 5, 4), shape(2, 3, 3, 3), true);
    images(cases, "wide", SAME, shape(2, 19, 9, 7), shape(67, 19, 3, 3), true);
    images(cases, "pointwise", PLAIN, shape(2, 4, 3, 3), shape(5, 4, 1, 1), true);
    images(cases, "one pixel", SAME, shape(2, 3, 1, 1), shape(4, 3, 3, 3), false);
    images(cases, "stride", SAME.stride(2, 2), shape(1, 2, 7, 6), shape(3, 2, 3, 3), true);
    images(
        cases, "pointwise stride", PLAIN.stride(2, 2), shape(2, 4, 5, 6), shape(3, 4, 1, 1), false);
    images(
        cases,
        "downsample",
        flat(ConvOptions.of().stride(2, 2).padding(0, 0, 1, 1)),
        shape(1, 2, 6, 6),
        shape(3, 2, 3, 3),
        true);
    images(
        cases,
        "asymmetric",
        flat(ConvOptions.of().stride(1, 2).padding(2, 0, 0, 3)),
        shape(1, 2, 4, 5),
        shape(2, 2, 3, 2),
        true);
    images(
        cases,
        "dilated",
        flat(ConvOptions.of().padding(2, 2).dilation(2, 2)),
        shape(1, 2, 7, 7),
        shape(2, 2, 3, 3),
        true);
    images(cases, "groups", SAME.groups(2), shape(2, 4, 4, 4), shape(6, 2, 3, 3), true);
    images(cases, "depthwise", SAME.groups(3), shape(1, 3, 5, 5), shape(3, 1, 3, 3), true);
    images(cases, "patches", PLAIN.stride(2, 2), shape(1, 3, 4, 8), shape(5, 3, 2, 2), true);
    images(cases, "leftover", PLAIN.stride(2, 2), shape(1, 1, 6, 6), shape(1, 1, 3, 3), true);
    doubled(cases, "small", shape(2, 3, 3, 4), shape(4, 3, 3, 3), true);
    doubled(cases, "one pixel", shape(1, 2, 1, 1), shape(3, 2, 3, 3), false);
    doubled(cases, "wide", shape(2, 35, 5, 7), shape(67, 35, 3, 3), true);
    volumes(cases, "same", VOLUME, shape(1, 2, 3, 4, 4), shape(2, 2, 3, 3, 3), true);
    volumes(
        cases,
        "causal",
        deep(ConvOptions.of().padding(List.of(2, 0, 0), List.of(0, 0, 0))),
        shape(2, 2, 4, 3, 3),
        shape(3, 2, 3, 1, 1),
        true);
    volumes(
        cases,
        "stride and groups",
        deep(ConvOptions.of().stride(2, 1, 2).padding(0, 1, 0).groups(2)),
        shape(1, 2, 4, 5, 4),
        shape(2, 1, 2, 3, 2),
        false);
    volumes(
        cases,
        "dilated",
        deep(ConvOptions.of().dilation(2, 1, 3)),
        shape(1, 1, 4, 4, 5),
        shape(2, 1, 2, 2, 2),
        true);
    return cases;
  }

  private static void images(
      List<OpCase> cases, String name, ConvOptions o, int[] x, int[] w, boolean bias) {
    Conv2d forward = new Conv2d(o, bias);
    OpCase c =
        bias
            ? OpCase.of(name, forward, normal(x), normal(w), normal(w[0]))
            : OpCase.of(name, forward, normal(x), normal(w));
    cases.add(name.equals("same") || name.equals("stride") ? c.withSecondOrder() : c);
    int[] y = new Conv2d(o, false).infer(specs(x, w)).getFirst().shape().dims();
    List<Integer> size = spatial(x);
    List<Integer> kernel = spatial(w);
    cases.add(OpCase.of(name, new Conv2dBackwardInput(o, size), normal(y), normal(w)));
    cases.add(OpCase.of(name, new Conv2dBackwardWeight(o, kernel), normal(y), normal(x)));
  }

  private static void doubled(List<OpCase> cases, String name, int[] x, int[] w, boolean bias) {
    UpsampleConv2d forward = new UpsampleConv2d(bias);
    OpCase c =
        bias
            ? OpCase.of(name, forward, normal(x), normal(w), normal(w[0]))
            : OpCase.of(name, forward, normal(x), normal(w));
    cases.add(name.equals("small") ? c.withSecondOrder() : c);
    int[] y = shape(x[0], w[0], 2 * x[2], 2 * x[3]);
    cases.add(OpCase.of(name, new UpsampleConv2dBackwardWeight(), normal(y), normal(x)));
  }

  private static void volumes(
      List<OpCase> cases, String name, ConvOptions o, int[] x, int[] w, boolean bias) {
    Conv3d forward = new Conv3d(o, bias);
    cases.add(
        bias
            ? OpCase.of(name, forward, normal(x), normal(w), normal(w[0]))
            : OpCase.of(name, forward, normal(x), normal(w)));
    int[] y = new Conv3d(o, false).infer(specs(x, w)).getFirst().shape().dims();
    List<Integer> size = spatial(x);
    List<Integer> kernel = spatial(w);
    cases.add(OpCase.of(name, new Conv3dBackwardInput(o, size), normal(y), normal(w)));
    cases.add(OpCase.of(name, new Conv3dBackwardWeight(o, kernel), normal(y), normal(x)));
  }

  @Override
  public List<ErrorCase> errors() {
    Conv2d conv = new Conv2d(PLAIN, false);
    return List.of(
        ErrorCase.of(
            conv,
            List.of(f32(1, 3, 8, 8), f32(4, 2, 3, 3)),
            "weight must have shape [out, in/groups, kh, kw] with in = 3"),
        ErrorCase.of(
            new Conv2d(PLAIN.groups(2), false),
            List.of(f32(1, 3, 8, 8), f32(4, 2, 3, 3)),
            "with in = 3 and groups = 2, a divisor of in and out"),
        ErrorCase.of(
            conv, List.of(f32(3, 8, 8), f32(4, 3, 3, 3)), "input must have shape [N, in, H, W]"),
        ErrorCase.of(
            conv,
            List.of(f32(1, 3, 2, 8), f32(4, 3, 3, 3)),
            "kernel is 3, padded input is 2 along h"),
        ErrorCase.of(
            new Conv2d(PLAIN, true),
            List.of(f32(1, 3, 8, 8), f32(4, 3, 3, 3), f32(3)),
            "bias must have shape [out] = [4]"),
        ErrorCase.of(
            new Conv2dBackwardInput(PLAIN, List.of(8, 8)),
            List.of(f32(1, 4, 8, 8), f32(4, 3, 3, 3)),
            "gradient must have shape of the output = [1, 4, 6, 6]"),
        ErrorCase.of(
            new Conv2dBackwardWeight(PLAIN, List.of(3, 3)),
            List.of(f32(1, 4, 8, 8), f32(1, 3, 8, 8)),
            "gradient must have shape of the output = [1, 4, 6, 6]"),
        ErrorCase.of(
            new UpsampleConv2d(false),
            List.of(f32(1, 3, 8, 8), f32(4, 3, 1, 1)),
            "weight must have shape [out, in, 3, 3] with in = 3"),
        ErrorCase.of(
            new UpsampleConv2d(false),
            List.of(f32(3, 8, 8), f32(4, 3, 3, 3)),
            "input must have shape [N, in, H, W]"),
        ErrorCase.of(
            new UpsampleConv2d(false),
            List.of(f32(1, 3, 0, 8), f32(4, 3, 3, 3)),
            "height and width must be positive"),
        ErrorCase.of(
            new UpsampleConv2dBackwardWeight(),
            List.of(f32(1, 4, 8, 8), f32(1, 3, 8, 8)),
            "inputs must have shapes [N, out, 2 H, 2 W] and [N, in, H, W]"),
        ErrorCase.of(
            new Conv3d(VOLUME, false),
            List.of(f32(1, 3, 8, 8), f32(4, 3, 3, 3, 3)),
            "input must have shape [N, in, D, H, W]"),
        ErrorCase.of(
            new Conv3d(VOLUME, false),
            List.of(f32(1, 3, 4, 8, 8), f32(4, 2, 3, 3, 3)),
            "weight must have shape [out, in/groups, kd, kh, kw] with in = 3"));
  }

  private static int[] shape(int... dims) {
    return dims;
  }

  private static List<Integer> spatial(int[] dims) {
    return Arrays.stream(dims).skip(2).boxed().toList();
  }

  private static List<TensorSpec> specs(int[] x, int[] w) {
    return List.of(
        new TensorSpec(Shape.of(x), DType.F64, Device.CPU),
        new TensorSpec(Shape.of(w), DType.F64, Device.CPU));
  }

  private static ConvOptions flat(ConvOptions o) {
    return o.resolved(2);
  }

  private static ConvOptions deep(ConvOptions o) {
    return o.resolved(3);
  }
}
