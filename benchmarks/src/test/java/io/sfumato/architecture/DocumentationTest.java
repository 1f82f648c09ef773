// SPDX-License-Identifier: Apache-2.0
package io.sfumato.architecture;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** README and docs: their Java is that of tests, and their links lead somewhere. */
final class DocumentationTest {
  /** With this system property set to {@code write} the pages get the code of the sources. */
  private static final String PROPERTY = "sfumato.docs";

  private static final Pattern LINK = Pattern.compile("]\\(([^)#\\s]+)(#[^)\\s]*)?\\)");
  private static final Path ROOT = Path.of("").toAbsolutePath().getParent();

  private static List<Path> pages() throws IOException {
    try (Stream<Path> files = Files.walk(ROOT.resolve("docs"))) {
      return Stream.concat(Stream.of(ROOT.resolve("README.md")), files)
          .filter(f -> f.toString().endsWith(".md"))
          .sorted()
          .toList();
    }
  }

  @Test
  void theJavaInPagesIsThatOfTests() throws IOException {
    List<String> faults = new ArrayList<>();
    for (Path page : pages()) {
      CodeBlocks blocks = new CodeBlocks(ROOT, page);
      if (System.getProperty(PROPERTY, "").equals("write")) {
        blocks.write();
      }
      faults.addAll(blocks.faults());
    }
    assertTrue(
        faults.isEmpty(),
        () ->
            String.join("\n", faults)
                + "\nThe pages get the code of the sources by: mvn -q -pl benchmarks -am test"
                + " -Dtest=DocumentationTest -Dsurefire.failIfNoSpecifiedTests=false"
                + " -Dsfumato.docs=write");
  }

  @Test
  void linksBetweenFilesLeadSomewhere() throws IOException {
    List<String> broken = new ArrayList<>();
    for (Path page : pages()) {
      Matcher link = LINK.matcher(Files.readString(page));
      while (link.find()) {
        String target = link.group(1);
        if (!target.contains("://") && !Files.exists(page.resolveSibling(target))) {
          broken.add(ROOT.relativize(page) + ": " + target);
        }
      }
    }
    assertEquals(List.of(), broken);
  }

  @Test
  void aPageThatDiffersFromItsSourceIsAFault(@TempDir Path root) throws IOException {
    Path source = Files.createDirectories(root.resolve("a/src/test")).resolve("A.java");
    Files.writeString(
        source, "x\n  // @start region=\"r\"\n  int a;\n\n    int b;\n\n  // @end\ny");
    Path page = root.resolve("p.md");
    String mark = "<!-- code: a/src/test/A.java r -->\n";
    Files.writeString(page, mark + "```java\nint a;\n\n  int b;\n```\n");
    CodeBlocks blocks = new CodeBlocks(root, page);
    assertEquals(List.of(), blocks.faults());

    Files.writeString(page, "text\n" + mark + "```java\nint a;\n\n  int c;\n```\n");
    assertEquals(
        List.of(
            "p.md:6: shows \"  int c;\" where region \"r\" of a/src/test/A.java has \"  int b;\""),
        blocks.faults());
    blocks.write();
    assertEquals(List.of(), blocks.faults());

    Files.writeString(page, "```java\nint a;\n```\n");
    assertFalse(blocks.faults().isEmpty(), "code that no source has");
    Files.writeString(page, mark.replace(" r ", " s ") + "```java\nint a;\n```\n");
    assertFalse(blocks.faults().isEmpty(), "a region that does not exist");
  }
}
