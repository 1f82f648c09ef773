// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.guides;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Compares what a program printed with the block of {@code text} that a guide shows. With {@code
 * -Dsfumato.docs=write} the guide gets it.
 */
final class Output {
  private static final Pattern SHOWN = Pattern.compile("(?ms)^```text\n(.*?)^```");
  private static final Pattern FRACTION = Pattern.compile("-?\\d+\\.\\d+");

  /** Of numbers with a fraction; words and whole numbers must be equal. */
  private static final double TOLERANCE = 0.02;

  private Output() {}

  static void assertShown(String guide, String printed) throws IOException {
    Path file = Path.of("").toAbsolutePath();
    while (!Files.exists(file.resolve("docs/guides"))) {
      file = file.getParent();
    }
    Path page = file.resolve("docs/guides").resolve(guide);
    String text = Files.readString(page);
    Matcher block = SHOWN.matcher(text);
    assertTrue(block.find(), () -> guide + " shows no output");
    String shown = block.group(1);
    if (System.getProperty("sfumato.docs", "").equals("write")) {
      Files.writeString(
          page, text.substring(0, block.start(1)) + printed + text.substring(block.end(1)));
      return;
    }
    assertTrue(
        same(shown.toString(), printed),
        () -> guide + " shows\n" + shown + "\nbut its program prints\n" + printed);
  }

  private static boolean same(String shown, String printed) {
    if (!FRACTION
        .matcher(shown)
        .replaceAll("#")
        .equals(FRACTION.matcher(printed).replaceAll("#"))) {
      return false;
    }
    List<Double> wanted = numbers(shown);
    List<Double> got = numbers(printed);
    for (int i = 0; i < wanted.size(); i++) {
      if (!(Math.abs(wanted.get(i) - got.get(i))
          <= TOLERANCE * Math.max(1, Math.abs(wanted.get(i))))) {
        return false;
      }
    }
    return true;
  }

  private static List<Double> numbers(String text) {
    return FRACTION.matcher(text).results().map(r -> Double.valueOf(r.group())).toList();
  }
}
