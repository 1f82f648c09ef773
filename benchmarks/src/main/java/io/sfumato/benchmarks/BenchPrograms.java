// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import io.sfumato.models.cli.ProgramProvider;
import java.util.LinkedHashMap;
import java.util.Map;

/** What measures the library, under the names that it has in the one program. */
public final class BenchPrograms implements ProgramProvider {
  /** For {@link java.util.ServiceLoader}. */
  public BenchPrograms() {}

  @Override
  public Map<String, Class<?>> programs() {
    Map<String, Class<?>> programs = new LinkedHashMap<>();
    programs.put("bench", Suite.class);
    programs.put("soak", Soak.class);
    return programs;
  }
}
