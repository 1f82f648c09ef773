// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.Test;

class ProgressTest {
  private static final int NEVER = 1_000_000;

  /** A file holds lines, and few of them, not a bar that is drawn over and over. */
  @Test
  void saysInLinesWhereThereIsNoTerminal() {
    List<String> lines = new CopyOnWriteArrayList<>();
    try (Progress progress = Progress.lines("drawing", 40, NEVER, lines::add)) {
      for (int i = 1; i <= 40; i++) {
        progress.at(i, "step " + i);
      }
    }
    assertTrue(!lines.isEmpty() && lines.size() <= 3, lines::toString);
    String last = lines.getLast();
    assertTrue(last.startsWith("drawing") && last.contains("40/40"), last);
    assertTrue(last.contains("step 40"), last);
    assertEquals(-1, last.indexOf('\r'), last);
    assertEquals(-1, last.indexOf('\n'), last);
  }
}
