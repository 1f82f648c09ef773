// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;
import java.util.zip.GZIPOutputStream;

/**
 * Compiles kernels with nvcc; a program that runs from its source file:
 *
 * <pre>{@code
 * java KernelImages.java cuda-kernels ptx            what the jar contains, for every device
 * java KernelImages.java cuda-kernels cubin sm_90a   machine code for one kind, in target/cubin
 * }</pre>
 *
 * <p>A file with the line {@code // arch: 90a} gets PTX for Hopper beside the one for all, with
 * {@code // arch: 90a only} in its place. The first line of PTX is a hash of the sources it comes
 * from; what is up to date is left alone. The PTX's version is lowered to 8.0, so that drivers from
 * 525 on read it; for Hopper to 8.1, which brought atomic sums of vectors and needs drivers from
 * 530 on (older ones get the PTX for all). It is compressed, as it is large: every type and tile
 * size is a kernel of its own.
 */
public final class KernelImages {
  private static final String MARK = "// source-sha256 ";

  private static final String ARCH = "// arch: ";

  private static final String ONLY = " only";

  private static final String HINT = "(?m)^\\s*\\.pragma \"used_bytes_mask [^\n]*\n";

  private static final String NO_NVCC = "nvcc of the CUDA toolkit (13.0) cannot be started: ";

  private static final Pattern INCLUDE = Pattern.compile("(?m)^#include \"([^\"]+)\"");

  private final Path module;
  private final Path folder;

  /** The images of a module in this folder, as its jar has them. */
  public KernelImages(Path module) {
    this(module, module.resolve("src/main/resources/io/sfumato/cuda/kernels"));
  }

  /** The same PTX in another folder. */
  public KernelImages(Path module, Path folder) {
    this.module = module;
    this.folder = folder;
  }

  /** Compiles what the arguments say. */
  public static void main(String[] args) throws Exception {
    KernelImages images = new KernelImages(Path.of(args[0]));
    List<String> errors =
        args[1].equals("ptx")
            ? images.makePtx()
            : images.makeCubins(args.length > 2 ? args[2] : "sm_90a");
    errors.forEach(System.err::println);
    if (!errors.isEmpty()) {
      System.exit(1);
    }
  }

  /** One file of PTX: where it comes from and for which architecture. */
  public record Ptx(Path source, String arch, Path file) {
    /** The version of the language it is written in. */
    public String version() {
      return arch.equals("80") ? "8.0" : "8.1";
    }
  }

  private Path sources() {
    return module.resolve("src/main/cuda");
  }

  private static List<Path> cudaFiles(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.filter(f -> f.toString().endsWith(".cu")).sorted().toList();
    }
  }

  private static String family(Path source) {
    return source.getFileName().toString().replaceFirst("\\.cu$", "");
  }

  /** What the line {@code // arch: } of a source says, or nothing. */
  private static String arch(Path source) throws IOException {
    return Files.readAllLines(source).stream()
        .filter(line -> line.startsWith(ARCH))
        .map(line -> line.substring(ARCH.length()).strip())
        .findFirst()
        .orElse("");
  }

  /** All PTX files that the jar should contain. */
  public List<Ptx> ptx() throws IOException {
    List<Ptx> all = new ArrayList<>();
    for (Path source : cudaFiles(sources())) {
      String arch = arch(source);
      if (!arch.endsWith(ONLY)) {
        all.add(new Ptx(source, "80", folder.resolve(family(source) + ".ptx.gz")));
      }
      if (!arch.isEmpty()) {
        String name = arch.replace(ONLY, "");
        all.add(new Ptx(source, name, folder.resolve(family(source) + "." + name + ".ptx.gz")));
      }
    }
    return all;
  }

  /** A source and all headers of a folder that it includes, directly or not. */
  static List<Path> parts(Path source, Path headers) throws IOException {
    List<Path> all = new ArrayList<>(List.of(source));
    for (int i = 0; i < all.size(); i++) {
      Matcher include = INCLUDE.matcher(Files.readString(all.get(i)));
      while (include.find()) {
        Path header = headers.resolve(include.group(1));
        if (Files.exists(header) && !all.contains(header)) {
          all.add(header);
        }
      }
    }
    return all;
  }

  /** The first line of PTX made from these sources. */
  public String mark(Path source) throws IOException {
    try {
      MessageDigest sha = MessageDigest.getInstance("SHA-256");
      for (Path file : parts(source, sources())) {
        sha.update(Files.readAllBytes(file));
      }
      return MARK + HexFormat.of().formatHex(sha.digest());
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }

  /** Whether a file is there and was made from the present sources. */
  public boolean isUpToDate(Ptx ptx) throws IOException {
    if (Files.notExists(ptx.file())) {
      return false;
    }
    return read(ptx.file()).startsWith(mark(ptx.source()) + "\n");
  }

  /** The text of a compressed file. */
  public static String read(Path file) throws IOException {
    try (InputStream in = new GZIPInputStream(Files.newInputStream(file))) {
      return new String(in.readAllBytes(), StandardCharsets.US_ASCII);
    }
  }

  private static void write(Path file, String text) throws IOException {
    try (OutputStream out = new GZIPOutputStream(Files.newOutputStream(file))) {
      out.write(text.getBytes(StandardCharsets.US_ASCII));
    }
  }

  /** Makes PTX that is missing or old; removes what has no source. Returns what went wrong. */
  public List<String> makePtx() throws Exception {
    List<Ptx> wanted = ptx();
    Files.createDirectories(folder);
    try (Stream<Path> files = Files.list(folder)) {
      for (Path f : files.filter(f -> f.toString().contains(".ptx")).toList()) {
        if (wanted.stream().noneMatch(p -> p.file().equals(f))) {
          Files.delete(f);
        }
      }
    }
    List<Callable<String>> jobs = new ArrayList<>();
    for (Ptx ptx : wanted) {
      if (!isUpToDate(ptx)) {
        jobs.add(() -> makePtx(ptx));
      }
    }
    return parallel(jobs);
  }

  private String makePtx(Ptx ptx) throws IOException, InterruptedException {
    Path raw = Files.createTempFile("sfumato", ".ptx");
    try {
      String errors = nvcc(ptx.source(), raw, "-ptx", "-arch=compute_" + ptx.arch());
      if (errors.isEmpty()) {
        String version = ".version " + ptx.version();
        String text =
            Files.readString(raw)
                .replaceFirst("(?m)^\\.version .*$", version)
                .replaceAll(HINT, ""); // which bytes of a load are used; of a later version
        write(ptx.file(), mark(ptx.source()) + "\n" + text);
      }
      return errors;
    } finally {
      Files.deleteIfExists(raw);
    }
  }

  /**
   * PTX of a text that includes the module's headers.
   *
   * @return the PTX; empty if there is no nvcc
   */
  public static String ptx(Path module, String text, String arch) throws Exception {
    Path source = Files.createTempFile("sfumato", ".cu");
    Path to = Files.createTempFile("sfumato", ".ptx");
    try {
      Files.writeString(source, text);
      KernelImages images = new KernelImages(module);
      String errors = images.nvcc(source, to, "-ptx", "-arch=compute_" + arch);
      if (errors.startsWith(NO_NVCC)) {
        return "";
      }
      if (!errors.isEmpty()) {
        throw new IllegalStateException(errors);
      }
      return Files.readString(to);
    } finally {
      Files.deleteIfExists(source);
      Files.deleteIfExists(to);
    }
  }

  /** Machine code for one architecture in {@code target/cubin}, of the tests' kernels too. */
  public List<String> makeCubins(String arch) throws Exception {
    Path cubins = module.resolve("target/cubin");
    Files.createDirectories(cubins);
    List<Path> all = new ArrayList<>(cudaFiles(sources()));
    all.addAll(cudaFiles(module.resolve("src/test/cuda")));
    List<Callable<String>> jobs = new ArrayList<>();
    for (Path source : all) {
      String own = arch(source);
      if (own.endsWith(ONLY) && !arch.equals("sm_" + own.replace(ONLY, ""))) {
        continue;
      }
      Path file = cubins.resolve(family(source) + "." + arch + ".cubin");
      Path note = cubins.resolve(family(source) + "." + arch + ".sha256");
      String mark = mark(source);
      if (Files.exists(file) && Files.exists(note) && Files.readString(note).equals(mark)) {
        continue;
      }
      jobs.add(
          () -> {
            Path fresh = cubins.resolve(file.getFileName() + ".new");
            String errors = nvcc(source, fresh, "-cubin", "-arch=" + arch);
            if (errors.isEmpty()) {
              Files.move(fresh, file, StandardCopyOption.REPLACE_EXISTING);
              Files.writeString(note, mark);
            }
            return errors;
          });
    }
    return parallel(jobs);
  }

  private static List<String> parallel(List<Callable<String>> jobs) throws Exception {
    List<String> errors = new ArrayList<>();
    ExecutorService pool = Executors.newFixedThreadPool(Runtime.getRuntime().availableProcessors());
    try {
      for (Future<String> f : pool.invokeAll(jobs)) {
        String error = f.get();
        if (!error.isEmpty()) {
          errors.add(error);
        }
      }
    } finally {
      pool.shutdownNow();
    }
    return errors;
  }

  private String nvcc(Path source, Path to, String... flags)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(List.of("nvcc", "-O3", "-std=c++17"));
    command.addAll(List.of(flags));
    command.addAll(List.of("-I", sources().toString(), "-o", to.toString(), source.toString()));
    Process p;
    try {
      p = new ProcessBuilder(command).redirectErrorStream(true).start();
    } catch (IOException e) {
      return NO_NVCC + e.getMessage();
    }
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    p.getInputStream().transferTo(out);
    return p.waitFor() == 0
        ? ""
        : String.join(" ", command) + "\n" + out.toString(StandardCharsets.UTF_8);
  }
}
