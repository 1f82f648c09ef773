// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops.cases;

import java.util.List;

/** All tables, one line per family of ops. */
public final class CaseTables {
  private CaseTables() {}

  /** All tables. */
  public static List<CaseTable> all() {
    return List.of(
        new CoreCases(), //
        new ElementwiseCases(), //
        new ReduceCases(), //
        new LineCases(), //
        new LossCases(), //
        new UpdateCases(), //
        new ProductCases(), //
        new QuantizedCases(), //
        new ConvolutionCases(), //
        new NormCases(), //
        new AttentionCases(), //
        new ResamplingCases(), //
        new ShapingCases(), //
        new RandomCases() //
        );
  }

  /** All cases of all tables. */
  public static List<OpCase> cases() {
    return all().stream().flatMap(t -> t.cases().stream()).toList();
  }

  /** All error cases of all tables. */
  public static List<ErrorCase> errors() {
    return all().stream().flatMap(t -> t.errors().stream()).toList();
  }
}
