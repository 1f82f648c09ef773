// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops.cases;

import static io.sfumato.tensor.ops.cases.ErrorCase.f32;
import static io.sfumato.tensor.ops.cases.ErrorCase.spec;
import static io.sfumato.tensor.ops.cases.Input.bools;
import static io.sfumato.tensor.ops.cases.Input.normal;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.ops.Attention;
import io.sfumato.tensor.ops.Attention.Mask;
import io.sfumato.tensor.ops.AttentionBackward;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Attention with its backward. */
final class AttentionCases implements CaseTable {
  @Override
  public List<OpCase> cases() {
    List<OpCase> cases = new ArrayList<>();
    for (int width : new int[] {1, 3, 8, 40, 64}) {
      attention(cases, "width " + width, 1, 2, 5, 5, width, width, false, null);
    }
    attention(cases, "one token", 2, 3, 1, 1, 4, 4, false, null);
    attention(cases, "one key", 1, 2, 3, 1, 4, 4, false, null);
    attention(cases, "cross", 2, 2, 3, 7, 8, 8, false, null);
    attention(cases, "long", 1, 1, 70, 133, 16, 16, false, null);
    attention(cases, "value width", 1, 2, 3, 4, 4, 6, false, null);
    attention(cases, "causal", 1, 2, 5, 5, 8, 8, true, null);
    attention(cases, "causal, more keys", 1, 2, 3, 5, 4, 4, true, null);
    attention(cases, "causal, more queries", 1, 2, 5, 3, 4, 4, true, null);
    attention(cases, "kept", 2, 2, 4, 5, 8, 8, false, bools(2, 2, 4, 5));
    attention(cases, "kept keys", 2, 2, 4, 5, 8, 8, false, bools(2, 1, 1, 5));
    attention(cases, "kept and causal", 2, 2, 4, 5, 3, 3, true, bools(4, 5));
    attention(cases, "added", 2, 2, 4, 5, 8, 8, false, normal(2, 2, 4, 5));
    attention(cases, "added to all", 2, 2, 4, 5, 3, 3, false, normal(4, 5));
    attention(cases, "added per query", 2, 2, 4, 5, 3, 3, true, normal(2, 1, 4, 1));
    return cases;
  }

  private static void attention(
      List<OpCase> cases,
      String name,
      int batch,
      int heads,
      int queries,
      int keys,
      int width,
      int values,
      boolean causal,
      @Nullable Input mask) {
    Mask kind = mask == null ? Mask.NONE : mask.isFree() ? Mask.ADD : Mask.KEEP;
    Attention op = new Attention(0.7 / Math.sqrt(width), causal, kind);
    List<Input> in = new ArrayList<>();
    in.add(normal(batch, heads, queries, width));
    in.add(normal(batch, heads, keys, width));
    in.add(normal(batch, heads, keys, values));
    if (mask != null) {
      in.add(mask);
    }
    OpCase c = OpCase.of(name, op, in.toArray(Input[]::new)).tolerance(1e-5);
    cases.add(name.startsWith("c") || name.startsWith("k") ? c.withSecondOrder() : c);
    if (keys == 1) {
      return; // gradients of q and k vanish: nothing to be relative to
    }
    List<Input> given = new ArrayList<>(Given.all(in.toArray(Input[]::new)));
    given.addAll(Given.outputs(op, given));
    given.add(normal(batch, heads, queries, values));
    cases.add(
        OpCase.of(name, new AttentionBackward(op), given.toArray(Input[]::new)).tolerance(2e-5));
  }

  @Override
  public List<ErrorCase> errors() {
    Attention plain = new Attention(1, false, Mask.NONE);
    Attention kept = new Attention(1, false, Mask.KEEP);
    return List.of(
        ErrorCase.of(
            plain,
            List.of(f32(1, 2, 3, 4), f32(1, 2, 5, 3), f32(1, 2, 5, 4)),
            "q [B, H, Lq, D], k [B, H, Lk, D] and v [B, H, Lk, Dv]"),
        ErrorCase.of(
            plain, List.of(f32(2, 3, 4), f32(2, 5, 4), f32(2, 5, 4)), "inputs must have shapes"),
        ErrorCase.of(
            kept,
            List.of(f32(1, 2, 3, 4), f32(1, 2, 5, 4), f32(1, 2, 5, 4), f32(3, 5)),
            "mask must be bool or have the type of q"),
        ErrorCase.of(
            kept,
            List.of(f32(1, 2, 3, 4), f32(1, 2, 5, 4), f32(1, 2, 5, 4), spec(DType.BOOL, 5, 3)),
            "mask must broadcast to [B, H, Lq, Lk] = [1, 2, 3, 5]"),
        ErrorCase.of(
            new AttentionBackward(plain),
            List.of(
                f32(1, 2, 3, 4),
                f32(1, 2, 5, 4),
                f32(1, 2, 5, 4),
                f32(1, 2, 3, 4),
                f32(1, 2, 3),
                f32(1, 2, 3, 5)),
            "gradient must have the shape of the output = [1, 2, 3, 4]"));
  }
}
