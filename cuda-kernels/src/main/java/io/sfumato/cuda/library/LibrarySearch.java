// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.library;

import java.io.File;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Where a library of CUDA may be: in the folders of the system property {@value #PROPERTY} (a list
 * like PATH), where the system's loader looks, in a toolkit (CUDA_HOME, CUDA_PATH,
 * /usr/local/cuda*), or in NVIDIA's packages for Python, which PyTorch brings along.
 */
public final class LibrarySearch {
  /** The system property that names folders to look in first. */
  public static final String PROPERTY = "sfumato.cuda.libraries";

  private final @Nullable String folders;
  private final Map<String, String> environment;
  private final Path root;

  LibrarySearch(@Nullable String folders, Map<String, String> environment, Path root) {
    this.folders = folders;
    this.environment = environment;
    this.root = root;
  }

  /** The search on this machine. */
  public static LibrarySearch ofThisMachine() {
    return new LibrarySearch(System.getProperty(PROPERTY), System.getenv(), Path.of("/"));
  }

  /**
   * What to give the loader for a library, in the order to try: paths of files that exist, and the
   * bare name for the loader's own search.
   *
   * @param file the name of the library's file, such as {@code libcublas.so.13}
   */
  public List<String> candidates(String file) {
    Set<String> found = new LinkedHashSet<>();
    for (String folder : split(folders)) {
      add(found, Path.of(folder).resolve(file));
    }
    found.add(file);
    for (Path folder : installed()) {
      add(found, folder.resolve(file));
    }
    return List.copyOf(found);
  }

  private static void add(Set<String> found, Path file) {
    if (Files.isRegularFile(file)) {
      found.add(file.toString());
    }
  }

  /** Folders of toolkits, newest first, then those of Python's packages. */
  private List<Path> installed() {
    List<Path> list = new ArrayList<>();
    for (String name : List.of("CUDA_HOME", "CUDA_PATH")) {
      for (String home : split(environment.get(name))) {
        toolkit(list, Path.of(home));
      }
    }
    for (Path toolkit : matching(root.resolve("usr/local"), "cuda*")) {
      toolkit(list, toolkit);
    }
    for (Path packages : sitePackages()) {
      Path nvidia = packages.resolve("nvidia");
      List<Path> parts = matching(nvidia, "*").reversed(); // cu13, cublas, cudnn, …
      parts.forEach(p -> list.add(p.resolve("lib")));
    }
    return list;
  }

  private static void toolkit(List<Path> list, Path home) {
    list.add(home.resolve("lib64"));
    list.add(home.resolve("targets/x86_64-linux/lib"));
  }

  /** The package folders of the first python3 on the path, which is not run. */
  private List<Path> sitePackages() {
    List<Path> list = new ArrayList<>();
    String virtual = environment.get("VIRTUAL_ENV");
    if (virtual != null) {
      packagesUnder(list, Path.of(virtual));
    }
    for (String folder : split(environment.get("PATH"))) {
      Path python = Path.of(folder).resolve("python3");
      if (Files.isExecutable(python)) {
        Path prefix = Path.of(folder).toAbsolutePath().getParent();
        if (prefix != null) {
          packagesUnder(list, prefix); // of a virtual environment
        }
        try {
          Path home = python.toRealPath().getParent();
          if (home != null && home.getParent() != null) {
            packagesUnder(list, home.getParent());
            packagesUnder(list, home.getParent().resolve("local"));
          }
        } catch (IOException e) {
          continue; // a dangling link is no python
        }
        break;
      }
    }
    return list;
  }

  private static void packagesUnder(List<Path> list, Path prefix) {
    for (String lib : List.of("lib", "lib64")) {
      for (Path python : matching(prefix.resolve(lib), "python3*")) {
        list.add(python.resolve("site-packages"));
        list.add(python.resolve("dist-packages")); // Debian's name for it
      }
    }
  }

  /**
   * What a folder holds under names of a pattern, the greatest name first; nothing if it is none.
   */
  private static List<Path> matching(Path folder, String pattern) {
    List<Path> list = new ArrayList<>();
    if (Files.isDirectory(folder)) {
      try (DirectoryStream<Path> stream = Files.newDirectoryStream(folder, pattern)) {
        stream.forEach(list::add);
      } catch (IOException e) {
        return List.of(); // unreadable: nothing to be found there
      }
    }
    list.sort(Comparator.reverseOrder());
    return list;
  }

  private static List<String> split(@Nullable String paths) {
    if (paths == null) {
      return List.of();
    }
    List<String> list = new ArrayList<>();
    for (String path : paths.split(File.pathSeparator, -1)) {
      if (!path.isBlank()) {
        list.add(path);
      }
    }
    return list;
  }
}
