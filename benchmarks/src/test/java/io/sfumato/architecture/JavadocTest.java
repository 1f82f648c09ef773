// SPDX-License-Identifier: Apache-2.0
package io.sfumato.architecture;

import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import javax.tools.Diagnostic;
import javax.tools.DiagnosticCollector;
import javax.tools.DocumentationTool;
import javax.tools.JavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;

/**
 * Makes the Javadoc of all modules, in {@code benchmarks/target/apidocs}, and fails at any warning
 * for a public or protected member but the kinds named in {@link #OPTIONAL}.
 */
final class JavadocTest {
  /**
   * A sentence that says what goes in and comes out needs no tag that says it again; and the Vector
   * API is known to incubate. (All of Javadoc's own diagnostics share one code.)
   */
  private static final Pattern OPTIONAL =
      Pattern.compile("no @(param|return|throws)\\b.*|using incubating module.*");

  private static final Map<String, String> MODULES =
      new TreeMap<>(
          Map.of(
              "io.sfumato.tensor", "tensor-core",
              "io.sfumato.autograd", "autograd",
              "io.sfumato.cuda", "cuda-kernels",
              "io.sfumato.models", "models"));

  @Test
  void thereAreNoWarnings() throws IOException {
    Path root = Path.of("").toAbsolutePath().getParent();
    DocumentationTool tool = ToolProvider.getSystemDocumentationTool();
    assertNotNull(tool, "a JDK without javadoc");
    List<String> options =
        new ArrayList<>(
            List.of(
                "-quiet",
                "-protected",
                "-notimestamp",
                "-Xdoclint:all",
                "-Xmaxwarns",
                "100000",
                "-Xmaxerrs",
                "100000",
                "-overview",
                root.resolve("docs/overview.html").toString(),
                "-windowtitle",
                "Sfumato",
                "-doctitle",
                "Sfumato: tensors, automatic differentiation and diffusion models",
                "-d",
                Path.of("target", "apidocs").toString(),
                "--module-path",
                libraries(),
                "--module",
                String.join(",", MODULES.keySet())));
    MODULES.forEach(
        (module, folder) -> {
          options.add("--module-source-path");
          options.add(module + "=" + root.resolve(folder).resolve("src/main/java"));
        });
    DiagnosticCollector<JavaFileObject> diagnostics = new DiagnosticCollector<>();
    StringWriter output = new StringWriter();
    boolean done;
    try (StandardJavaFileManager files =
        tool.getStandardFileManager(diagnostics, Locale.ROOT, StandardCharsets.UTF_8)) {
      done = tool.getTask(output, files, diagnostics, null, options, null).call();
    }
    List<String> faults =
        diagnostics.getDiagnostics().stream()
            .filter(JavadocTest::isFault)
            .map(diagnostic -> describe(root, diagnostic))
            .toList();
    assertTrue(faults.isEmpty(), () -> String.join("\n", faults));
    assertTrue(done, output::toString);
  }

  private static boolean isFault(Diagnostic<?> diagnostic) {
    boolean grave =
        switch (diagnostic.getKind()) {
          case ERROR, WARNING, MANDATORY_WARNING -> true;
          case NOTE, OTHER -> false;
        };
    return grave && !OPTIONAL.matcher(diagnostic.getMessage(Locale.ROOT).strip()).matches();
  }

  private static String describe(Path root, Diagnostic<? extends JavaFileObject> diagnostic) {
    String place =
        diagnostic.getSource() == null
            ? ""
            : root.relativize(Path.of(diagnostic.getSource().toUri()))
                + ":"
                + diagnostic.getLineNumber()
                + ": ";
    return place + diagnostic.getMessage(Locale.ROOT);
  }

  /** What the modules are compiled against. */
  private static String libraries() {
    return Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
        .filter(entry -> !entry.endsWith("test-classes") && !entry.endsWith("-tests.jar"))
        .collect(Collectors.joining(File.pathSeparator));
  }
}
