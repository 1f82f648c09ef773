// SPDX-License-Identifier: Apache-2.0

import com.google.googlejavaformat.java.Formatter;
import com.google.googlejavaformat.java.FormatterException;
import java.io.IOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.List;

/**
 * Checks, or makes, the format of all sources: google-java-format for Java, and the licence line at
 * the head of every Java, CUDA and header file.
 *
 * <p>google-java-format parses with the compiler of the JDK it runs on, so Java 25 sources need a
 * JDK 25. Maven itself may run on an older one, which rules out plugins that format inside Maven's
 * own process; Maven starts this program with the toolchain's {@code java} instead.
 *
 * <p>Arguments: {@code check} or {@code apply}, then the root folder.
 */
final class Format {
  /** The first line of a script for jbang, which is left as it is but for its licence. */
  private static final String JBANG = "///usr/bin/env jbang";

  private static final String LICENCE = "// SPDX-License-Identifier: Apache-2.0\n";

  private Format() {}

  public static void main(String[] args) throws IOException {
    boolean apply = args[0].equals("apply");
    List<String> faults = new ArrayList<>();
    for (Path file : sources(Path.of(args[1]))) {
      String text = Files.readString(file);
      if (text.startsWith(JBANG)) {
        // A formatter would put a space before jbang's directives, which it then takes for
        // comments.
        if (!text.substring(text.indexOf('\n') + 1).startsWith(LICENCE)) {
          faults.add(file + ":2, which must be the licence");
        }
        continue;
      }
      String wanted = text;
      if (!text.startsWith(LICENCE)) {
        wanted = LICENCE + text;
      }
      if (file.toString().endsWith(".java")) {
        try {
          wanted = new Formatter().formatSourceAndFixImports(wanted);
        } catch (FormatterException e) {
          faults.add(file + " cannot be parsed: " + e.getMessage());
          continue;
        }
      }
      if (wanted.equals(text)) {
        continue;
      }
      if (apply) {
        Files.writeString(file, wanted);
      } else {
        faults.add(file + ":" + firstDifference(text, wanted));
      }
    }
    if (!faults.isEmpty()) {
      System.err.println("Format faults (file and first line); \"mvn -q -Pformat\" mends them:");
      faults.forEach(fault -> System.err.println("  " + fault));
      System.exit(1);
    }
  }

  private static List<Path> sources(Path root) throws IOException {
    List<Path> files = new ArrayList<>();
    Files.walkFileTree(
        root,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult preVisitDirectory(Path folder, BasicFileAttributes attributes) {
            String name = folder.getFileName().toString();
            boolean skip =
                name.equals("target")
                    || name.equals("out")
                    || (name.startsWith(".") && !name.equals(".ci") && !folder.equals(root));
            return skip ? FileVisitResult.SKIP_SUBTREE : FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) {
            String name = file.getFileName().toString();
            if (name.endsWith(".java") || name.endsWith(".cu") || name.endsWith(".cuh")) {
              files.add(file);
            }
            return FileVisitResult.CONTINUE;
          }
        });
    files.sort(null);
    return files;
  }

  private static int firstDifference(String text, String wanted) {
    List<String> have = text.lines().toList();
    List<String> want = wanted.lines().toList();
    int line = 0;
    while (line < have.size() && line < want.size() && have.get(line).equals(want.get(line))) {
      line++;
    }
    return line + 1;
  }
}
