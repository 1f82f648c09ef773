// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.library;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Where libraries are looked for, in folders made for the test. */
class LibrarySearchTest {
  private static final String FILE = "libsearched.so.13"; // none is loaded already

  @TempDir Path root;

  private Path file(String folder) throws IOException {
    Path made = Files.createDirectories(root.resolve(folder)).resolve(FILE);
    return Files.writeString(made, "library");
  }

  private Path python(String folder) throws IOException {
    Path made = Files.createDirectories(root.resolve(folder)).resolve("python3");
    Files.writeString(made, "#!/bin/sh\n");
    assertTrue(made.toFile().setExecutable(true));
    return made;
  }

  private List<String> candidates(String folders, Map<String, String> environment) {
    return new LibrarySearch(folders, environment, root).candidates(FILE);
  }

  @Test
  void theLoaderIsAskedWhereNothingIsKnown() {
    assertEquals(List.of(FILE), candidates(null, Map.of()));
    assertEquals(List.of(FILE), candidates("", Map.of("PATH", "", "CUDA_HOME", "")));
  }

  @Test
  void namedFoldersComeBeforeTheLoaderAndItBeforeToolkits() throws IOException {
    Path named = file("named");
    Path home = file("home/lib64");
    Path target = file("usr/local/cuda-13.0/targets/x86_64-linux/lib");
    Path older = file("usr/local/cuda-12.8/lib64");
    assertEquals(
        List.of(named + "", FILE, home + "", target + "", older + ""),
        candidates(
            root.resolve("absent") + File.pathSeparator + named.getParent(),
            Map.of("CUDA_HOME", root.resolve("home") + "")));
  }

  @Test
  void packagesOfThePythonOnThePathAreFound() throws IOException {
    python("opt/python/bin");
    Path first = file("opt/python/lib/python3.12/site-packages/nvidia/cu13/lib");
    Path second = file("opt/python/lib/python3.12/site-packages/nvidia/cublas/lib");
    python("later/bin");
    file("later/lib/python3.12/site-packages/nvidia/cu13/lib");
    Files.createDirectories(root.resolve("usr/bin"));
    Files.createSymbolicLink(
        root.resolve("usr/bin/python3"), root.resolve("opt/python/bin/python3"));
    String path =
        root.resolve("empty")
            + File.pathSeparator
            + root.resolve("usr/bin")
            + File.pathSeparator
            + root.resolve("later/bin");
    assertEquals(List.of(FILE, first + "", second + ""), candidates(null, Map.of("PATH", path)));
  }

  @Test
  void packagesOfAVirtualEnvironmentComeFirst() throws IOException {
    python("base/bin");
    Path base = file("base/lib/python3.11/site-packages/nvidia/cu13/lib");
    Path own = file("venv/lib/python3.11/site-packages/nvidia/cu13/lib");
    Files.createDirectories(root.resolve("venv/bin"));
    Files.createSymbolicLink(root.resolve("venv/bin/python3"), root.resolve("base/bin/python3"));
    assertEquals(
        List.of(FILE, own + "", base + ""),
        candidates(null, Map.of("PATH", root.resolve("venv/bin") + "")));
  }

  @Test
  void nothingIsLoadedFromAFileThatIsNoLibrary() throws IOException {
    Path named = file("named");
    LibrarySearch search = new LibrarySearch(named.getParent() + "", Map.of(), root);
    MissingLibraryException e =
        assertThrows(
            MissingLibraryException.class, () -> NativeLibrary.open(search, List.of(FILE)));
    assertTrue(e.getMessage().contains(named + ""), e.getMessage());
    assertTrue(e.getMessage().contains(LibrarySearch.PROPERTY), e.getMessage());
  }
}
