// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops.cases;

import static io.sfumato.tensor.ops.cases.ErrorCase.f32;
import static io.sfumato.tensor.ops.cases.Input.normal;

import io.sfumato.tensor.exec.Op;
import io.sfumato.tensor.ops.GatedResidual;
import io.sfumato.tensor.ops.GatedResidualBackward;
import io.sfumato.tensor.ops.GatedResidualNorm;
import io.sfumato.tensor.ops.GatedResidualNormBackward;
import io.sfumato.tensor.ops.GroupNorm;
import io.sfumato.tensor.ops.GroupNormBackward;
import io.sfumato.tensor.ops.LayerNorm;
import io.sfumato.tensor.ops.LayerNormBackward;
import io.sfumato.tensor.ops.LayerNormModulate;
import io.sfumato.tensor.ops.LayerNormModulateBackward;
import io.sfumato.tensor.ops.RmsNorm;
import io.sfumato.tensor.ops.RmsNormBackward;
import io.sfumato.tensor.ops.RunningAverage;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/** Normalisations with their backwards. */
final class NormCases implements CaseTable {
  private static final double EPS = 1e-5;

  @Override
  public List<OpCase> cases() {
    List<OpCase> cases = new ArrayList<>();
    for (boolean silu : new boolean[] {false, true}) {
      groups(cases, "plain", 2, silu, true, true, 2, 4, 3, 3);
      groups(cases, "bare", 2, silu, false, false, 2, 4, 3, 3);
      groups(cases, "weight only", 3, silu, true, false, 2, 6, 5, 3);
      groups(cases, "bias only", 3, silu, false, true, 2, 6, 5, 3);
      groups(cases, "one group", 1, silu, true, true, 2, 3, 2, 4);
      groups(cases, "per channel", 4, silu, true, true, 1, 4, 3, 3);
      groups(cases, "wide", 5, silu, true, true, 3, 35, 9, 7);
      groups(cases, "tokens", 2, silu, true, true, 2, 4, 5);
      groups(cases, "flat", 3, silu, true, true, 3, 15);
      groups(cases, "volume", 2, silu, true, true, 1, 4, 2, 3, 2);
    }
    layers(cases, "last", 1, true, true, 2, 3, 5);
    layers(cases, "bare", 1, false, false, 2, 3, 5);
    layers(cases, "two", 2, true, true, 2, 3, 4);
    layers(cases, "all", 2, true, true, 3, 4);
    layers(cases, "weight only", 1, true, false, 3, 6);
    layers(cases, "bias only", 1, false, true, 3, 6);
    layers(cases, "long", 1, true, true, 5, 131);
    layers(cases, "many", 1, true, true, 70, 19);
    gated(cases, "small", 2, 3, 5);
    gated(cases, "many tokens", 2, 131, 8);
    gated(cases, "wide", 3, 2, 100);
    modulated(cases, "plain", 2, 3, 8);
    modulated(cases, "odd", 3, 5, 37);
    modulated(cases, "one token", 1, 1, 6);
    gatedNorm(cases, "plain", 2, 3, 8);
    gatedNorm(cases, "odd", 3, 5, 37);
    gatedNorm(cases, "one token", 1, 1, 6);
    rms(cases, "last", true, 2, 3, 5);
    rms(cases, "bare", false, 2, 3, 5);
    rms(cases, "long", true, 7, 131);
    cases.add(OpCase.of("vector", new RunningAverage(0.1), normal(5), normal(5)));
    return cases;
  }

  private static void groups(
      List<OpCase> cases, String name, int groups, boolean silu, boolean w, boolean b, int... x) {
    GroupNorm forward = new GroupNorm(groups, EPS, w, b, silu);
    Input[] in = present(normal(x), w ? normal(x[1]) : null, b ? normal(x[1]) : null);
    OpCase c = OpCase.of(name, forward, in).tolerance(1e-5);
    cases.add(name.equals("plain") ? c.withSecondOrder() : c);
    backward(cases, name, forward, new GroupNormBackward(forward, w, b), 3, in);
    if (name.equals("plain")) {
      backward(cases, "frozen", forward, new GroupNormBackward(forward, false, false), 3, in);
    }
  }

  private static void layers(
      List<OpCase> cases, String name, int dims, boolean w, boolean b, int... x) {
    LayerNorm forward = new LayerNorm(dims, EPS, w, b);
    int[] last = java.util.Arrays.copyOfRange(x, x.length - dims, x.length);
    Input[] in = present(normal(x), w ? normal(last) : null, b ? normal(last) : null);
    OpCase c = OpCase.of(name, forward, in).tolerance(1e-5);
    cases.add(name.equals("last") ? c.withSecondOrder() : c);
    backward(cases, name, forward, new LayerNormBackward(dims, EPS, w, w, b), w ? 2 : 1, in);
  }

  private static void modulated(List<OpCase> cases, String name, int batch, int tokens, int n) {
    LayerNormModulate forward = new LayerNormModulate(EPS);
    Input[] in = {normal(batch, tokens, n), normal(batch, n), normal(batch, n)};
    OpCase c = OpCase.of(name, forward, in).tolerance(1e-5);
    cases.add(name.equals("plain") ? c.withSecondOrder() : c);
    for (boolean modulation : new boolean[] {true, false}) {
      List<Input> given = Given.all(in);
      List<Input> out = Given.outputs(forward, given);
      cases.add(
          OpCase.of(
                  name + (modulation ? "" : ", frozen"),
                  new LayerNormModulateBackward(EPS, modulation),
                  normal(batch, tokens, n),
                  given.get(0),
                  out.get(1),
                  out.get(2),
                  given.get(2))
              .tolerance(1e-5));
    }
  }

  private static void gated(List<OpCase> cases, String name, int batch, int tokens, int n) {
    Input[] in = {normal(batch, tokens, n), normal(batch, tokens, n), normal(batch, n)};
    OpCase c = OpCase.of(name, new GatedResidual(), in);
    cases.add(name.equals("small") ? c.withSecondOrder() : c);
    cases.add(
        OpCase.of(
            name,
            new GatedResidualBackward(),
            normal(batch, tokens, n),
            normal(batch, n),
            normal(batch, tokens, n)));
  }

  private static void gatedNorm(List<OpCase> cases, String name, int batch, int tokens, int n) {
    GatedResidualNorm forward = new GatedResidualNorm(EPS);
    Input[] in = {
      normal(batch, tokens, n),
      normal(batch, tokens, n),
      normal(batch, n),
      normal(batch, n),
      normal(batch, n)
    };
    OpCase c = OpCase.of(name, forward, in).tolerance(1e-5);
    cases.add(name.equals("plain") ? c.withSecondOrder() : c);
    for (boolean modulation : new boolean[] {true, false}) {
      List<Input> given = Given.all(in);
      List<Input> out = Given.outputs(forward, given);
      cases.add(
          OpCase.of(
                  name + (modulation ? "" : ", frozen"),
                  new GatedResidualNormBackward(EPS, modulation),
                  normal(batch, tokens, n),
                  normal(batch, tokens, n),
                  out.get(1),
                  out.get(2),
                  out.get(3),
                  given.get(1),
                  given.get(2),
                  given.get(4))
              .tolerance(1e-5));
    }
  }

  private static void rms(List<OpCase> cases, String name, boolean w, int... x) {
    RmsNorm forward = new RmsNorm(EPS, w);
    Input[] in = present(normal(x), w ? normal(x[x.length - 1]) : null);
    OpCase c = OpCase.of(name, forward, in).tolerance(1e-5);
    cases.add(name.equals("last") ? c.withSecondOrder() : c);
    backward(cases, name, forward, new RmsNormBackward(EPS, w, w), 2, in);
  }

  /** Inputs of a backward: dy, x, statistics, and the forward's inputs 1 to {@code kept - 1}. */
  private static void backward(
      List<OpCase> cases, String name, Op forward, Op op, int kept, Input... in) {
    List<Input> given = Given.all(in);
    List<Input> out = Given.outputs(forward, given);
    List<Input> all = new ArrayList<>();
    all.add(normal(in[0].shape().dims()));
    all.add(given.get(0));
    all.addAll(out.subList(1, out.size()));
    all.addAll(given.subList(1, Math.min(kept, given.size())));
    cases.add(OpCase.of(name, op, all.toArray(Input[]::new)).tolerance(1e-5));
  }

  private static Input[] present(Input... inputs) {
    return Stream.of(inputs).filter(x -> x != null).toArray(Input[]::new);
  }

  @Override
  public List<ErrorCase> errors() {
    GroupNorm group = new GroupNorm(2, EPS, true, true, false);
    LayerNorm layer = new LayerNorm(1, EPS, true, false);
    return List.of(
        ErrorCase.of(
            group,
            List.of(f32(2, 3, 4), f32(3), f32(3)),
            "input must have shape [N, C, ...] with C divisible by groups = 2"),
        ErrorCase.of(
            group, List.of(f32(2, 4, 4), f32(3), f32(4)), "weight must have shape [C] = [4]"),
        ErrorCase.of(
            group, List.of(f32(2, 4, 4), f32(4), f32(3)), "bias must have shape [C] = [4]"),
        ErrorCase.of(
            new GroupNormBackward(group, true, true),
            List.of(f32(2, 4, 3), f32(2, 4, 4), f32(2, 2), f32(2, 2), f32(4), f32(4)),
            "gradient must have the shape of the input = [2, 4, 4]"),
        ErrorCase.of(
            layer,
            List.of(f32(2, 3), f32(2)),
            "weight must have shape of the normalised dimensions = [3]"),
        ErrorCase.of(
            new LayerNorm(2, EPS, false, false), List.of(f32(3)), "2 dimensions to normalise"),
        ErrorCase.of(
            new LayerNormModulate(EPS),
            List.of(f32(2, 3, 4), f32(2, 1, 4), f32(2, 4)),
            "shift must have shape [B, D] = [2, 4]"),
        ErrorCase.of(
            new LayerNormModulate(EPS),
            List.of(f32(2, 3), f32(2, 4), f32(2, 4)),
            "input must have shape [B, N, D]"),
        ErrorCase.of(
            new GatedResidual(),
            List.of(f32(2, 3, 4), f32(2, 3, 4), f32(2, 1, 4)),
            "gate must have shape [B, D] = [2, 4]"),
        ErrorCase.of(
            new GatedResidual(),
            List.of(f32(2, 3, 4), f32(2, 3), f32(2, 4)),
            "branch must have shape [B, N, D] = [2, 3, 4]"),
        ErrorCase.of(
            new GatedResidualNorm(EPS),
            List.of(f32(2, 3, 4), f32(2, 3, 4), f32(2, 3), f32(2, 4), f32(2, 4)),
            "gate must have shape [B, D] = [2, 4]"),
        ErrorCase.of(
            new RmsNorm(EPS, true), List.of(f32(2, 3), f32(2)), "weight must have shape [D] = [3]"),
        ErrorCase.of(new RunningAverage(0.1), List.of(f32(2), f32(3)), "value must have shape"));
  }
}
