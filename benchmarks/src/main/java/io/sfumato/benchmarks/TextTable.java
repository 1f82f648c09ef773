// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import java.util.ArrayList;
import java.util.List;

/** A table in Markdown whose columns are also aligned as plain text; numbers to the right. */
public final class TextTable {
  private static final int LEAST_WIDTH = 3;

  private final List<List<String>> rows = new ArrayList<>();

  /** A table with these columns, the first one aligned to the left. */
  public TextTable(List<String> header) {
    rows.add(List.copyOf(header));
  }

  /**
   * Adds a row.
   *
   * @throws IllegalArgumentException if it has not one cell for each column
   */
  public void add(List<String> cells) {
    if (cells.size() != rows.getFirst().size()) {
      throw new IllegalArgumentException(
          "a row needs " + rows.getFirst().size() + " cells; got " + cells);
    }
    rows.add(List.copyOf(cells));
  }

  @Override
  public String toString() {
    int columns = rows.getFirst().size();
    int[] width = new int[columns];
    for (List<String> row : rows) {
      for (int i = 0; i < columns; i++) {
        width[i] = Math.max(Math.max(LEAST_WIDTH, width[i]), row.get(i).length());
      }
    }
    StringBuilder text = new StringBuilder();
    for (int r = 0; r < rows.size(); r++) {
      for (int i = 0; i < columns; i++) {
        String space = " ".repeat(width[i] - rows.get(r).get(i).length());
        String cell = rows.get(r).get(i);
        text.append(i == 0 ? "| " + cell + space : " | " + space + cell);
      }
      text.append(" |\n");
      if (r == 0) {
        for (int i = 0; i < columns; i++) {
          text.append(
              i == 0 ? "|-" + "-".repeat(width[i]) + "-" : "|-" + "-".repeat(width[i]) + ":");
        }
        text.append("|\n");
      }
    }
    return text.toString();
  }
}
