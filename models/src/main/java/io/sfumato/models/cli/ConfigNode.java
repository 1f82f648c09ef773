// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** A part of a configuration, and where it was written. */
sealed interface ConfigNode {
  /** Where it was written: {@code run.yaml:3}. */
  String where();

  /**
   * A value.
   *
   * @param text as it was written; null for YAML's {@code null}
   */
  record Scalar(@Nullable String text, String where) implements ConfigNode {}

  /** A list. */
  record Sequence(List<ConfigNode> items, String where) implements ConfigNode {}

  /** Names with what belongs to them, in the order of the file. */
  record Mapping(Map<String, ConfigNode> entries, String where) implements ConfigNode {}
}
