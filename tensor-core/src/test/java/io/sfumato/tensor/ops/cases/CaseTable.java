// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops.cases;

import java.util.List;

/** The cases of a family of ops. Listed in {@link CaseTables}. */
public interface CaseTable {
  /** What must work. */
  List<OpCase> cases();

  /** What must be refused. */
  List<ErrorCase> errors();
}
