// SPDX-License-Identifier: Apache-2.0
package io.sfumato.architecture;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import javax.xml.parsers.DocumentBuilderFactory;
import javax.xml.xpath.XPath;
import javax.xml.xpath.XPathExpressionException;
import javax.xml.xpath.XPathFactory;
import org.junit.jupiter.api.Test;
import org.w3c.dom.Document;

/** What Maven Central asks of the POM of each artifact, looked up as Maven inherits it. */
final class PomsTest {
  private static final Path ROOT = Path.of("").toAbsolutePath().getParent();
  private static final XPath XPATH = XPathFactory.newInstance().newXPath();
  private static final List<String> PUBLISHED =
      List.of(
          "pom.xml",
          "tensor-core/bom/pom.xml",
          "tensor-core/pom.xml",
          "autograd/pom.xml",
          "cuda-kernels/pom.xml",
          "models/pom.xml");

  /** Of each artifact itself; Maven does not inherit the name. */
  private static final List<String> OWN = List.of("artifactId", "name", "description");

  private static final List<String> INHERITED =
      List.of(
          "groupId",
          "version",
          "url",
          "licenses/license/name",
          "licenses/license/url",
          "developers/developer/name",
          "developers/developer/organization",
          "scm/connection",
          "scm/url");

  private static Document read(String pom) throws Exception {
    return DocumentBuilderFactory.newInstance()
        .newDocumentBuilder()
        .parse(ROOT.resolve(pom).toFile());
  }

  private static String value(Document pom, String path) throws XPathExpressionException {
    return XPATH.evaluate("/project/" + path, pom).strip();
  }

  @Test
  void whatCentralAsksForIsThere() throws Exception {
    Document parent = read("pom.xml");
    TreeSet<String> missing = new TreeSet<>();
    for (String file : PUBLISHED) {
      Document pom = read(file);
      boolean child = !value(pom, "parent/artifactId").isEmpty();
      for (String path : OWN) {
        if (value(pom, path).isEmpty()) {
          missing.add(file + ": " + path);
        }
      }
      for (String path : INHERITED) {
        if (value(pom, path).isEmpty() && (!child || value(parent, path).isEmpty())) {
          missing.add(file + ": " + path);
        }
      }
    }
    assertEquals(List.of(), List.copyOf(missing));
  }

  /** The BOM and the parent each list the modules; the parent's version is everyone's. */
  @Test
  void theBomListsAllModulesInOneVersion() throws Exception {
    Document bom = read("tensor-core/bom/pom.xml");
    String version = value(read("pom.xml"), "version");
    TreeSet<String> wanted = new TreeSet<>();
    for (String file : PUBLISHED.subList(2, PUBLISHED.size())) {
      Document pom = read(file);
      wanted.add(value(pom, "artifactId"));
      assertEquals(version, value(pom, "parent/version"), file);
    }
    assertEquals(version, value(bom, "version"));
    TreeSet<String> listed = new TreeSet<>();
    String dependencies = "dependencyManagement/dependencies/dependency";
    int count = Integer.parseInt(XPATH.evaluate("count(/project/" + dependencies + ")", bom));
    for (int i = 1; i <= count; i++) {
      listed.add(value(bom, dependencies + "[" + i + "]/artifactId"));
    }
    assertEquals(wanted, listed);
  }

  /** What japicmp leaves out are the packages that no module exports. */
  @Test
  void theComparisonLeavesInternalPackagesOut() throws Exception {
    TreeSet<String> internal = new TreeSet<>();
    for (String file : PUBLISHED.subList(2, PUBLISHED.size())) {
      Path sources = ROOT.resolve(file).resolveSibling("src/main/java");
      Set<String> exports = PublicApi.exports(sources.resolve("module-info.java"));
      try (Stream<Path> files = Files.walk(sources)) {
        files
            .filter(f -> f.endsWith("package-info.java"))
            .map(f -> sources.relativize(f.getParent()).toString().replace('/', '.'))
            .filter(name -> !exports.contains(name) && has(sources, name))
            .forEach(internal::add);
      }
    }
    Document parent = read("pom.xml");
    TreeSet<String> excluded = new TreeSet<>();
    String path = "//parameter/excludes/exclude";
    int count = Integer.parseInt(XPATH.evaluate("count(" + path + ")", parent));
    for (int i = 1; i <= count; i++) {
      excluded.add(XPATH.evaluate("(" + path + ")[" + i + "]", parent));
    }
    assertEquals(internal, excluded);
  }

  /** Whether a package has more than its description. */
  private static boolean has(Path sources, String name) {
    String[] files = sources.resolve(name.replace('.', '/')).toFile().list();
    return Stream.of(files).filter(f -> f.endsWith(".java")).count() > 1;
  }
}
