// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops.cases;

import static io.sfumato.tensor.ops.cases.ErrorCase.spec;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.ops.RandomFill;
import io.sfumato.tensor.ops.RandomIntegers;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Random numbers: their key is an attribute, so each case gives the same ones every time. */
final class RandomCases implements CaseTable {
  @Override
  public List<OpCase> cases() {
    List<OpCase> cases = new ArrayList<>();
    for (RandomFill.Kind kind : RandomFill.Kind.values()) {
      String name = kind.name().toLowerCase(Locale.ROOT);
      for (DType dtype : new DType[] {DType.F64, DType.F32, DType.BF16, DType.F16}) {
        cases.add(
            OpCase.of(
                name + " " + dtype.label(), new RandomFill(kind, 0x5eed_0001L, spec(dtype, 7, 5))));
      }
      cases.add(
          OpCase.of(
              name + " over many blocks", new RandomFill(kind, -3, spec(DType.F32, 3, 1000, 2))));
      cases.add(OpCase.of(name + " scalar", new RandomFill(kind, 11, spec(DType.F32))));
      cases.add(OpCase.of(name + " empty", new RandomFill(kind, 11, spec(DType.F32, 0, 3))));
    }
    for (int[] range : new int[][] {{-3, 9}, {0, 1}, {Integer.MIN_VALUE, Integer.MAX_VALUE}}) {
      cases.add(
          OpCase.of(
              "from " + range[0] + " to " + range[1],
              new RandomIntegers(range[0], range[1], 12, spec(DType.I64, 7, 5))));
    }
    return cases;
  }

  @Override
  public List<ErrorCase> errors() {
    return List.of(
        ErrorCase.of(
            new RandomFill(RandomFill.Kind.NORMAL, 1, spec(DType.I64, 2)),
            List.of(),
            "must be floating",
            "i64"),
        ErrorCase.of(
            new RandomFill(RandomFill.Kind.UNIFORM, 1, spec(DType.BOOL, 2)),
            List.of(),
            "must be floating"),
        ErrorCase.of(
            new RandomIntegers(0, 5, 1, spec(DType.F32, 2)), List.of(), "must be i64", "f32"),
        ErrorCase.of(
            new RandomIntegers(5, 5, 1, spec(DType.I64, 2)), List.of(), "below high", "5 and 5"));
  }
}
