// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.JavaCompiler;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The catalogue for jbang: its scripts compile, and name this version's artifacts. */
class JbangTest {
  private static final Set<String> KEYS = Set.of("script-ref", "description", "dependencies");

  @TempDir Path folder;

  /** The repository: tests run in the folder of their module. */
  private static Path root() {
    String given = System.getProperty("sfumato.root");
    return given == null ? Path.of("").toAbsolutePath().getParent() : Path.of(given);
  }

  private static String first(String pattern, String text) {
    Matcher m = Pattern.compile(pattern, Pattern.DOTALL).matcher(text);
    assertTrue(m.find(), () -> pattern + " in " + text);
    return m.group(1);
  }

  @Test
  void scriptsCompileAndNameTheReleaseOfThisVersion() throws Exception {
    String pom = Files.readString(root().resolve("pom.xml"));
    String release =
        first("<artifactId>sfumato-parent</artifactId>\\s*<version>([^<]+)</version>", pom)
            .replace("-SNAPSHOT", "");
    JsonNode catalogue = new ObjectMapper().readTree(root().resolve("jbang-catalog.json").toFile());
    JsonNode aliases = catalogue.path("aliases");
    assertTrue(aliases.size() >= 2, catalogue::toString);
    for (JsonNode alias : aliases) {
      alias.fieldNames().forEachRemaining(key -> assertTrue(KEYS.contains(key), key));
      Path script = root().resolve(alias.path("script-ref").asText());
      List<String> lines = Files.readAllLines(script);
      List<String> artifacts = new ArrayList<>();
      alias.path("dependencies").forEach(d -> artifacts.add(d.asText()));
      lines.stream()
          .filter(line -> line.startsWith("//DEPS "))
          .forEach(line -> artifacts.addAll(List.of(line.substring(7).split("\\s+"))));
      assertTrue(lines.contains("//JAVA 25+"), script + " says which Java");
      assertTrue(artifacts.contains("io.sfumato:sfumato-models:" + release), artifacts::toString);
      for (String artifact : artifacts) {
        String[] parts = artifact.split(":", -1);
        assertEquals("io.sfumato", parts[0]);
        assertEquals(release, parts[2], artifact);
        String module = parts[1].replace("sfumato-", "");
        assertTrue(Files.exists(root().resolve(module).resolve("pom.xml")), artifact);
      }
      compile(script);
    }
  }

  @Test
  void theOptionsForJavaAreThoseOfTheBuild() throws Exception {
    String pom = Files.readString(root().resolve("pom.xml"));
    String flags =
        first("<sfumato.run.flags>([^<]+)</sfumato.run.flags>", pom)
            .replace(
                "${sfumato.jvm.flags}",
                first("<sfumato.jvm.flags>([^<]+)</sfumato.jvm.flags>", pom));
    String script = Files.readString(root().resolve("models/src/jbang/sfumato.java"));
    assertEquals(flags, first("//RUNTIME_OPTIONS ([^\n]+)\n", script));
  }

  private void compile(Path script) throws Exception {
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    assertNotNull(compiler, "the tests run on a JDK");
    StringWriter said = new StringWriter();
    try (StandardJavaFileManager files = compiler.getStandardFileManager(null, null, null)) {
      boolean ok =
          compiler
              .getTask(
                  said,
                  files,
                  null,
                  List.of(
                      "-proc:none",
                      "-d",
                      folder.toString(),
                      "-cp",
                      System.getProperty("java.class.path")),
                  null,
                  files.getJavaFileObjects(script))
              .call();
      assertTrue(ok, said::toString);
    }
  }
}
