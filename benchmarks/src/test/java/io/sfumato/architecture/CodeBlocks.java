// SPDX-License-Identifier: Apache-2.0
package io.sfumato.architecture;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The Java and CUDA in a page, which lives once: in a source that the tests run, between {@code
 * // @start region="name"} and {@code // @end} (as in Javadoc's snippets). The page says which
 * before each block:
 *
 * <pre>{@code
 * <!-- code: models/src/test/java/io/sfumato/models/guides/TrainYourOwn.java loop -->
 * }</pre>
 */
record CodeBlocks(Path root, Path page) {
  private static final Set<String> CHECKED = Set.of("```java", "```cuda");
  private static final Pattern MARK = Pattern.compile("<!-- code: (\\S+) (\\S+) -->");
  private static final Pattern START = Pattern.compile("\\s*// @start region=\"([^\"]+)\"");
  private static final Pattern END = Pattern.compile("\\s*// @end");

  /** What is wrong with the page; empty if nothing is. */
  List<String> faults() throws IOException {
    List<String> faults = new ArrayList<>();
    page(faults);
    return faults;
  }

  /** Writes the page anew, with the code of the sources. */
  void write() throws IOException {
    List<String> text = page(new ArrayList<>());
    if (!text.equals(Files.readAllLines(page))) {
      Files.write(page, text);
    }
  }

  /** The page as it should be. */
  private List<String> page(List<String> faults) throws IOException {
    List<String> lines = Files.readAllLines(page);
    List<String> wanted = new ArrayList<>();
    Matcher mark = null;
    for (int i = 0; i < lines.size(); i++) {
      String line = lines.get(i);
      wanted.add(line);
      if (!CHECKED.contains(line)) {
        Matcher here = MARK.matcher(line);
        mark = here.matches() ? here : line.isBlank() ? mark : null;
        continue;
      }
      int end = i + 1;
      while (end < lines.size() && !lines.get(end).strip().equals("```")) {
        end++;
      }
      List<String> shown = lines.subList(i + 1, end);
      List<String> code = mark == null ? shown : code(mark.group(1), mark.group(2), faults, shown);
      if (mark == null) {
        faults.add(place(i + 1) + "code without a line <!-- code: FILE REGION --> before it");
      } else if (!code.equals(shown)) {
        faults.add(difference(i + 2, shown, code, mark.group(1), mark.group(2)));
      }
      wanted.addAll(code);
      mark = null;
      i = end - 1;
    }
    return wanted;
  }

  private List<String> code(String file, String region, List<String> faults, List<String> shown)
      throws IOException {
    Path source = root.resolve(file);
    if (!file.contains("src/test/") && !file.contains("src/it/")) {
      faults.add(place(1) + file + " is no source of the tests, so nothing runs it");
      return shown;
    }
    if (!Files.exists(source)) {
      faults.add(place(1) + file + " does not exist");
      return shown;
    }
    List<String> found = region(Files.readAllLines(source), region);
    if (found.isEmpty()) {
      faults.add(place(1) + file + " has no region \"" + region + "\", or an empty one");
      return shown;
    }
    return found;
  }

  /** The lines of a region, moved to the left; nothing if there is none. */
  static List<String> region(List<String> source, String name) {
    List<String> found = new ArrayList<>();
    boolean inside = false;
    for (String line : source) {
      Matcher start = START.matcher(line);
      if (start.matches()) {
        inside = start.group(1).equals(name);
      } else if (END.matcher(line).matches()) {
        inside = false;
      } else if (inside) {
        found.add(line);
      }
    }
    while (!found.isEmpty() && found.getLast().isBlank()) {
      found.removeLast();
    }
    int indent =
        found.stream()
            .filter(l -> !l.isBlank())
            .mapToInt(l -> l.length() - l.stripLeading().length())
            .min()
            .orElse(0);
    return found.stream().map(l -> l.isBlank() ? "" : l.substring(indent)).toList();
  }

  private String difference(
      int first, List<String> shown, List<String> code, String file, String region) {
    int i = 0;
    while (i < shown.size() && i < code.size() && shown.get(i).equals(code.get(i))) {
      i++;
    }
    return place(first + i)
        + "shows "
        + (i < shown.size() ? "\"" + shown.get(i) + "\"" : "no more")
        + " where region \""
        + region
        + "\" of "
        + file
        + " has "
        + (i < code.size() ? "\"" + code.get(i) + "\"" : "no more");
  }

  private String place(int line) {
    return root.relativize(page) + ":" + line + ": ";
  }
}
