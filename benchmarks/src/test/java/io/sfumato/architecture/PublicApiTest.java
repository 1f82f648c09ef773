// SPDX-License-Identifier: Apache-2.0
package io.sfumato.architecture;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import javax.tools.JavaCompiler;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The public API is what {@code docs/api} says, so that no change of it goes unseen. */
final class PublicApiTest {
  /** With this system property set to {@code write} the listings are written. */
  private static final String PROPERTY = "sfumato.api";

  private static final Path ROOT = Path.of("").toAbsolutePath().getParent();
  private static final Map<String, String> MODULES =
      new TreeMap<>(
          Map.of(
              "io.sfumato.tensor", "tensor-core",
              "io.sfumato.autograd", "autograd",
              "io.sfumato.cuda", "cuda-kernels",
              "io.sfumato.models", "models"));

  @Test
  void theApiIsAsListed() throws IOException {
    List<String> differences = new ArrayList<>();
    for (Map.Entry<String, String> module : MODULES.entrySet()) {
      Path folder = ROOT.resolve(module.getValue());
      Set<String> exports = PublicApi.exports(folder.resolve("src/main/java/module-info.java"));
      List<String> found = PublicApi.of(folder.resolve("target/classes"), exports);
      Path listing = ROOT.resolve("docs/api").resolve(module.getKey() + ".txt");
      if (System.getProperty(PROPERTY, "").equals("write")) {
        Files.createDirectories(listing.getParent());
        Files.write(listing, found);
      }
      differences.addAll(
          differences(Files.exists(listing) ? Files.readAllLines(listing) : List.of(), found));
    }
    assertTrue(
        differences.isEmpty(),
        () ->
            "the public API is not the one that docs/api lists (- gone, + new):\n"
                + String.join("\n", differences)
                + "\n"
                + "If that is meant: mvn -q -pl benchmarks -am test -Dtest=PublicApiTest"
                + " -Dsurefire.failIfNoSpecifiedTests=false -Dsfumato.api=write, and commit"
                + " docs/api");
  }

  private static List<String> differences(List<String> before, List<String> now) {
    TreeSet<String> gone = new TreeSet<>(before);
    gone.removeAll(now);
    TreeSet<String> fresh = new TreeSet<>(now);
    fresh.removeAll(before);
    TreeSet<String> all =
        new TreeSet<>((a, b) -> (a.substring(2) + a).compareTo(b.substring(2) + b));
    gone.forEach(line -> all.add("- " + line));
    fresh.forEach(line -> all.add("+ " + line));
    return List.copyOf(all);
  }

  @Test
  void whatAUserSeesIsListedAndNothingElse(@TempDir Path folder) throws IOException {
    List<String> before = api(folder.resolve("one"), "public static final int SIZE = 3;");
    assertEquals(
        List.of(
            "p.Api.Inner.new(p.Api):",
            "p.Api.Inner.value: int",
            "p.Api.Inner: class",
            "p.Api.Point.new(int, java.util.List<? extends String>):",
            "p.Api.Point.x(): int",
            "p.Api.Point.y(): java.util.List<? extends String>",
            "p.Api.Point: record",
            "p.Api.SIZE: static final int = 3",
            "p.Api.hook(byte[][]): protected abstract void throws java.io.IOException",
            "p.Api.new(): protected",
            "p.Api.pick<T extends Comparable<T>>(java.util.Map<String, T>, T...): static T",
            "p.Api: abstract class implements Runnable"),
        before);
    List<String> after = api(folder.resolve("two"), "public static final long SIZE = 3;");
    assertEquals(
        List.of("- p.Api.SIZE: static final int = 3", "+ p.Api.SIZE: static final long = 3"),
        differences(before, after));
  }

  private static List<String> api(Path folder, String member) throws IOException {
    Path source = Files.createDirectories(folder).resolve("Api.java");
    Files.writeString(
        source,
        """
        package p;
        import java.util.*;
        public abstract class Api implements Runnable {
          %s
          protected Api() {}
          Api(int hidden) {}
          private int own;
          protected abstract void hook(byte[][] data) throws java.io.IOException;
          public static <T extends Comparable<T>> T pick(Map<String, T> from, T... others) { return null; }
          void internal() { Runnable r = () -> own++; }
          public record Point(int x, List<? extends String> y) {}
          public class Inner { public int value; }
          static class Hidden { public static class Deep { public int unseen; } }
        }
        class Beside { public void unseen() {} }
        """
            .formatted(member));
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    try (StandardJavaFileManager files = compiler.getStandardFileManager(null, null, null)) {
      assertTrue(
          compiler
              .getTask(
                  null,
                  files,
                  null,
                  List.of("-proc:none", "-d", folder.toString()),
                  null,
                  files.getJavaFileObjects(source))
              .call());
    }
    return PublicApi.of(folder, Set.of("p"));
  }
}
