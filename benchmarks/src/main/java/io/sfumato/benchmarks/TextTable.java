// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import java.util.ArrayList;
import java.util.List;

/** A table in Markdown whose columns are also aligned as plain text; numbers to the right. */
public final class TextTable {
  private static final int LEAST_WIDTH = 3;

  private final List<List<String>> rows = new ArrayList<>();
  private final int labels;

  /**
   * A table.
   *
   * @param labels how many columns, from the first on, are aligned to the left
   * @param header the columns
   */
  public TextTable(int labels, List<String> header) {
    this.labels = labels;
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
        String cell = rows.get(r).get(i);
        String space = " ".repeat(width[i] - cell.length());
        text.append("| ").append(i < labels ? cell + space : space + cell).append(' ');
      }
      text.append("|\n");
      if (r == 0) {
        for (int i = 0; i < columns; i++) {
          text.append("|-").append("-".repeat(width[i])).append(i < labels ? '-' : ':');
        }
        text.append("|\n");
      }
    }
    return text.toString();
  }
}
