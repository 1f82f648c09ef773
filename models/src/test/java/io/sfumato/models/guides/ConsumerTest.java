// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.guides;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.StringWriter;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import javax.tools.JavaCompiler;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Compiles and runs the sources of the consumer project, which the README shows, in the tests too:
 * the project itself is built in the phase {@code verify} only.
 */
final class ConsumerTest {
  private static final Path SOURCES = Path.of("src/it/consumer/src/main/java");

  @Test
  void theReadmesProgramRuns(@TempDir Path folder) throws Exception {
    Path classes = Files.createDirectory(folder.resolve("classes"));
    compile(classes);
    PrintStream before = System.out;
    var bytes = new ByteArrayOutputStream();
    try (var capture = new PrintStream(bytes, true, StandardCharsets.UTF_8);
        var loader = new URLClassLoader(new URL[] {classes.toUri().toURL()})) {
      System.setOut(capture);
      loader
          .loadClass("example.Main")
          .getMethod("main", String[].class)
          .invoke(null, (Object) new String[] {"2", folder.toString()});
    } finally {
      System.setOut(before);
    }
    String printed = bytes.toString(StandardCharsets.UTF_8);
    assertEquals(4, printed.lines().filter(line -> line.startsWith("step ")).count(), printed);
  }

  private static void compile(Path classes) throws IOException {
    Path root = Path.of("").toAbsolutePath();
    root = Files.isDirectory(root.resolve("models")) ? root.resolve("models") : root;
    List<Path> sources;
    try (Stream<Path> files = Files.walk(root.resolve(SOURCES))) {
      sources = files.filter(f -> f.toString().endsWith(".java")).toList();
    }
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    StringWriter messages = new StringWriter();
    try (StandardJavaFileManager manager = compiler.getStandardFileManager(null, null, null)) {
      List<String> options =
          List.of(
              "-d",
              classes.toString(),
              "-proc:none",
              "-classpath",
              System.getProperty("java.class.path"));
      boolean done =
          compiler
              .getTask(
                  messages,
                  manager,
                  null,
                  options,
                  null,
                  manager.getJavaFileObjectsFromPaths(sources))
              .call();
      assertTrue(done, messages::toString);
    }
  }
}
