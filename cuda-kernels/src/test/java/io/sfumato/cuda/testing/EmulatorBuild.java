// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/**
 * Compiles all kernels for the host with g++, and the stub of the driver. What has not changed
 * since (sources, headers, flags, compiler) is not compiled again. The result is a folder with
 * {@code libcuda.so.1}, one {@code FAMILY.so} for each {@code FAMILY.cu}, and {@code images}.
 */
public final class EmulatorBuild {
  private static final List<String> FLAGS =
      List.of(
          "-march=native",
          "-std=c++20",
          "-fPIC",
          "-fvisibility=hidden",
          "-fno-gnu-unique",
          "-fno-strict-aliasing",
          "-Wall",
          "-Wno-unknown-pragmas",
          "-Wno-unused-function",
          "-Wno-unused-variable",
          "-Wno-unused-but-set-variable");

  private final Path module;
  private final Path sources;
  private final Path folder;
  private final List<String> extraFlags;

  private EmulatorBuild(Path module, Path sources, Path folder, List<String> extraFlags) {
    this.module = module;
    this.sources = sources;
    this.folder = folder;
    this.extraFlags = extraFlags;
  }

  /** The build of a checkout's kernels. */
  public static EmulatorBuild of(Path module) {
    return new EmulatorBuild(
        module,
        module.resolve("src/main/cuda"),
        module.resolve("target/emulator"),
        List.of("-O1", "-mtls-dialect=gnu2"));
  }

  /** The same with changed kernels and other flags. */
  EmulatorBuild withSources(Path changed, List<String> flags, Path into) {
    return new EmulatorBuild(module, changed, into, flags);
  }

  /** The same with other flags. */
  public EmulatorBuild withFlags(List<String> flags, Path into) {
    return new EmulatorBuild(module, sources, into, flags);
  }

  /**
   * The folder {@code cuda-kernels} of the checkout: in the one that the system property {@code
   * sfumato.root} names, else in the working directory or above.
   */
  public static Path moduleFolder() {
    String root = System.getProperty("sfumato.root");
    for (Path p = Path.of(root == null ? "" : root).toAbsolutePath();
        p != null;
        p = p.getParent()) {
      for (Path candidate : List.of(p, p.resolve("cuda-kernels"))) {
        if (Files.exists(candidate.resolve("src/main/cuda/dev.h"))) {
          return candidate;
        }
      }
    }
    throw new IllegalStateException(
        "the kernels' sources are not in or above "
            + Path.of("").toAbsolutePath()
            + "; name the checkout with -Dsfumato.root=… or use -Dsfumato.cuda.test=gpu");
  }

  /** All kernel families: those of the module and those of its tests. */
  public List<Path> families() {
    List<Path> found = new ArrayList<>();
    for (Path d : List.of(sources, module.resolve("src/test/cuda"))) {
      try (Stream<Path> files = Files.list(d)) {
        files.filter(f -> f.toString().endsWith(".cu")).forEach(found::add);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
    found.sort(Comparator.comparing(EmulatorBuild::size).reversed());
    return found;
  }

  private static long size(Path file) {
    try {
      return Files.size(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** The name of a family: that of its file. */
  public static String family(Path source) {
    String name = source.getFileName().toString();
    return name.substring(0, name.length() - 3);
  }

  /**
   * Compiles what has changed.
   *
   * @return the folder with the results
   * @throws IllegalStateException with the compiler's messages, or if there is no compiler
   */
  public Path build() {
    try {
      Files.createDirectories(folder.resolve("images"));
      try (FileChannel lock =
              FileChannel.open(
                  folder.resolve("lock"), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
          var held = lock.lock()) {
        compileAll();
        held.release();
      }
    } catch (IOException e) {
      throw new UncheckedIOException("the emulator cannot be built in " + folder, e);
    }
    return folder;
  }

  /**
   * Compiles some families; the rest of the folder is that of a finished build.
   *
   * @param base the finished build
   * @param wanted the families to compile, if they have changed
   * @return the driver's library
   * @throws IllegalStateException with the compiler's messages
   */
  Path build(Path base, Set<String> wanted) throws IOException {
    Files.createDirectories(folder.resolve("images"));
    try (Stream<Path> files = Files.list(base)) {
      for (Path f : files.filter(p -> p.toString().matches(".*\\.so(\\.1)?")).toList()) {
        Path to = folder.resolve(f.getFileName());
        if (Files.notExists(folder.resolve(f.getFileName() + ".sha256"))) {
          Files.copy(f, to, StandardCopyOption.REPLACE_EXISTING);
        }
      }
    }
    String headers = headers();
    List<Callable<String>> jobs = new ArrayList<>();
    for (Path source : families()) {
      if (wanted.contains(family(source))) {
        jobs.add(() -> compile(source, headers));
      }
    }
    inParallel(headers, jobs);
    return folder.resolve("libcuda.so.1");
  }

  private void compileAll() throws IOException {
    String headers = headers();
    List<Callable<String>> jobs = new ArrayList<>();
    jobs.add(() -> stub(headers));
    for (Path source : families()) {
      jobs.add(() -> compile(source, headers));
    }
    inParallel(headers, jobs);
  }

  private void inParallel(String headers, List<Callable<String>> jobs) throws IOException {
    ExecutorService pool =
        Executors.newFixedThreadPool(Math.max(1, Runtime.getRuntime().availableProcessors()));
    try {
      precompile(headers);
      StringBuilder errors = new StringBuilder();
      for (Future<String> job : pool.invokeAll(jobs)) {
        errors.append(job.get());
      }
      if (!errors.isEmpty()) {
        throw new IllegalStateException("kernels do not compile for the host:\n" + errors);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException(e);
    } catch (ExecutionException e) {
      if (e.getCause() instanceof IOException io) {
        throw io;
      }
      throw new IllegalStateException(e.getCause());
    } finally {
      pool.shutdownNow();
    }
  }

  private void precompile(String headers) throws IOException {
    Path header = folder.resolve("precompiled.h");
    if (Files.notExists(header)) {
      Files.writeString(header, "#include \"dev.h\"\n");
    }
    List<String> command = command("-x", "c++-header", header.toString());
    command.removeIf(flag -> flag.startsWith("-l") || flag.startsWith("-Wl,")); // nothing to link
    String errors = make("precompiled.h.gch", command, sha(headers + command));
    if (!errors.isEmpty()) {
      throw new IllegalStateException("dev.h does not compile for the host:\n" + errors);
    }
  }

  private String compile(Path source, String headers) throws IOException {
    String family = family(source);
    Files.writeString(
        folder.resolve("images/" + family + ".sm_90a.cubin"), "sfumato-emulator " + family + "\n");
    List<String> command =
        command(
            "-shared",
            "-include",
            folder.resolve("precompiled.h").toString(),
            "-x",
            "c++",
            source.toString());
    return make(
        family + ".so",
        command,
        sha(headers + command + text(KernelImages.parts(source, sources))));
  }

  private String stub(String headers) throws IOException {
    List<String> command =
        command(
            "-shared",
            "-Wl,-soname,libcuda.so.1",
            module.resolve("src/test/emulator/stub_driver.cpp").toString());
    String parts = text(emulatorFiles("stub_"));
    return make("libcuda.so.1", command, sha(headers + command + parts));
  }

  private List<String> command(String... more) {
    List<String> command = new ArrayList<>(List.of("g++"));
    command.addAll(FLAGS);
    command.addAll(extraFlags);
    command.add("-I");
    command.add(sources.toString());
    command.add("-I");
    command.add(module.resolve("src/test/emulator").toString());
    command.addAll(List.of(more));
    return command;
  }

  /** Runs a compiler command unless its result is there; returns its messages if it fails. */
  private String make(String name, List<String> command, String hash) throws IOException {
    Path result = folder.resolve(name);
    Path note = folder.resolve(name + ".sha256");
    if (Files.exists(result) && Files.exists(note) && Files.readString(note).equals(hash)) {
      return "";
    }
    Path fresh = folder.resolve(name + ".new");
    List<String> full = new ArrayList<>(command);
    full.addAll(List.of("-o", fresh.toString()));
    String errors = run(full);
    if (errors.isEmpty()) {
      Files.move(fresh, result, StandardCopyOption.REPLACE_EXISTING);
      Files.writeString(note, hash);
    }
    return errors;
  }

  private static String run(List<String> command) throws IOException {
    Process process;
    try {
      process = new ProcessBuilder(command).redirectErrorStream(true).start();
    } catch (IOException e) {
      throw new IllegalStateException(
          "the emulator needs g++ (version 12 or newer, x86-64 Linux), which cannot be started;"
              + " install it, or run on a GPU with -D"
              + EmulatorSession.PROPERTY
              + "=gpu",
          e);
    }
    String output = new String(process.getInputStream().readAllBytes());
    try {
      if (!process.waitFor(10, TimeUnit.MINUTES)) {
        process.destroyForcibly();
        return "no end after 10 minutes: " + command;
      }
    } catch (InterruptedException e) {
      process.destroyForcibly();
      Thread.currentThread().interrupt();
      return "interrupted";
    }
    return process.exitValue() == 0 ? "" : String.join(" ", command) + "\n" + output;
  }

  /** What all results depend on: the compiler, the emulator, {@code dev.h} and {@code ptx.h}. */
  private String headers() throws IOException {
    return run0(List.of("g++", "--version"))
        + text(emulatorFiles("emu"))
        + text(KernelImages.parts(sources.resolve("dev.h"), sources));
  }

  private List<Path> emulatorFiles(String start) throws IOException {
    try (Stream<Path> files = Files.list(module.resolve("src/test/emulator"))) {
      return files.filter(f -> f.getFileName().toString().startsWith(start)).sorted().toList();
    }
  }

  private static String text(List<Path> files) throws IOException {
    StringBuilder all = new StringBuilder();
    for (Path f : files) {
      all.append(f.getFileName()).append('\n').append(Files.readString(f));
    }
    return all.toString();
  }

  private static String run0(List<String> command) throws IOException {
    String errors = run(command);
    return errors.isEmpty() ? output(command) : errors;
  }

  private static String output(List<String> command) throws IOException {
    return new String(new ProcessBuilder(command).start().getInputStream().readAllBytes());
  }

  private static String sha(String text) {
    try {
      return HexFormat.of()
          .formatHex(MessageDigest.getInstance("SHA-256").digest(text.getBytes("UTF-8")));
    } catch (NoSuchAlgorithmException | java.io.UnsupportedEncodingException e) {
      throw new IllegalStateException(e);
    }
  }
}
