// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * The places where kernels synchronise: barriers, fences, and waits for asynchronous copies and
 * products. {@link #instrument} makes each of them one that can be left out while tests run.
 */
final class BarrierSites {
  private static final Pattern SITE =
      Pattern.compile(
          "__syncthreads\\(\\);|__syncwarp\\(\\);|bar_sync\\([^;]*\\);|fence_proxy_async\\(\\);|wgmma_fence\\([^;)]*\\);"
              + "|cluster_(?:sync|arrive|wait)\\(\\);|mbarrier_wait\\([^;]*\\);|(cp_async_wait|wgmma_wait)<([^>]+)>\\(([^;]*)\\);");

  private final Path sources;
  private final List<Site> sites = new ArrayList<>();

  /**
   * One of them.
   *
   * @param number from 1 on
   * @param name its file and line, the line before, and itself
   * @param families the kernel families that it is compiled into
   */
  record Site(
      int number, Path file, int from, int to, String now, String name, List<String> families) {}

  /** Finds them in a folder of kernels. */
  BarrierSites(Path sources) throws IOException {
    this.sources = sources;
    for (Path file : files()) {
      String name = file.getFileName().toString();
      String text = Files.readString(file);
      List<String> families = families(name);
      Matcher site = SITE.matcher(text);
      while (site.find()) {
        int number = sites.size() + 1;
        long line = text.substring(0, site.start()).lines().count();
        String all = site.group();
        String now =
            site.group(1) == null
                ? "do { if (!emu::left_out(" + number + ")) " + all + " } while (0);"
                : "do { if (emu::left_out(%d)) %s<%s + 1>(%s); else %s } while (0);"
                    .formatted(number, site.group(1), site.group(2), site.group(3), all);
        sites.add(
            new Site(
                number,
                file,
                site.start(),
                site.end(),
                now,
                name + ":" + line + " after " + before(text, site.start()) + ": " + all,
                families));
      }
    }
  }

  /** All of them. */
  List<Site> all() {
    return sites;
  }

  /**
   * Writes the sources with each barrier in an if: {@code emu_races.h} asks a file which one is
   * left out. Waits then wait for one group less instead.
   */
  void instrument(Path into) throws IOException {
    Files.createDirectories(into);
    try (Stream<Path> files = Files.list(sources)) {
      for (Path file : files.toList()) {
        StringBuilder text = new StringBuilder(Files.readString(file));
        for (Site s : sites.reversed()) {
          if (s.file.equals(file)) {
            text.replace(s.from, s.to, s.now);
          }
        }
        Files.writeString(into.resolve(file.getFileName()), text);
      }
    }
  }

  private List<Path> files() throws IOException {
    try (Stream<Path> files = Files.list(sources)) {
      return files
          .filter(f -> f.getFileName().toString().matches(".*\\.cuh?|dev\\.h"))
          .sorted()
          .toList();
    }
  }

  /** The line before a place. */
  private static String before(String text, int at) {
    String upTo = text.substring(0, text.lastIndexOf('\n', at));
    return upTo.substring(upTo.lastIndexOf('\n') + 1).strip();
  }

  /** The families that a file is part of. */
  private List<String> families(String name) throws IOException {
    if (name.endsWith(".cu")) {
      return List.of(name.substring(0, name.length() - 3));
    }
    List<String> found = new ArrayList<>();
    try (Stream<Path> files = Files.list(sources)) {
      for (Path f : files.sorted().toList()) {
        String other = f.getFileName().toString();
        if (!other.equals(name) && Files.readString(f).contains("#include \"" + name + "\"")) {
          found.addAll(families(other));
        }
      }
    }
    return found.stream().distinct().toList();
  }
}
