// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import jcuda.nvptxcompiler.JNvPTXCompiler;
import jcuda.nvptxcompiler.nvPTXCompilerHandle;
import org.jspecify.annotations.Nullable;

/**
 * Compiles PTX to machine code and tells what each kernel needs. What it found is kept, by the
 * PTX's content, in {@code target/kernel-needs}: a run that is cut off goes on where it was, and
 * one after a change assembles what has changed.
 */
public interface PtxAssembler {
  /**
   * What a kernel needs.
   *
   * @param registers of a thread
   * @param spills bytes stored to local memory for want of registers
   * @param threads the most threads of a block by its launch bounds, 0 without
   */
  record Needs(int registers, int spills, int threads) {}

  /** Which assembler this is, with its version. */
  String name() throws IOException, InterruptedException;

  /** The messages of the assembler, in its verbose mode. */
  String assemble(String ptx, String arch) throws IOException, InterruptedException;

  /** What the kernels of a file need. */
  default Map<String, Needs> needs(Path file, String arch)
      throws IOException, InterruptedException {
    return needs(file.getFileName().toString(), KernelImages.read(file), arch);
  }

  /** What the kernels of a text need. */
  default Map<String, Needs> needs(String title, String ptx, String arch)
      throws IOException, InterruptedException {
    Path kept = Kept.file(name(), arch, ptx);
    if (Files.exists(kept)) {
      return Kept.read(kept);
    }
    Map<String, Needs> found = assembled(title, ptx, arch);
    Kept.write(kept, found);
    return found;
  }

  private Map<String, Needs> assembled(String title, String ptx, String arch)
      throws IOException, InterruptedException {
    Map<String, Integer> threads = new HashMap<>();
    Matcher entry = Pattern.compile("\\.entry (\\w+)\\(([^{]*)\\{").matcher(ptx);
    while (entry.find()) {
      Matcher bound = Pattern.compile("\\.maxntid (\\d+)").matcher(entry.group(2));
      threads.put(entry.group(1), bound.find() ? Integer.parseInt(bound.group(1)) : 0);
    }
    String log = assemble(ptx, arch);
    if (log.contains("wgmma.mma_async instructions are serialized")) {
      throw new IllegalStateException(
          title + " has products that wait for each other on " + arch + ":\n" + log);
    }
    Map<String, Needs> needs = new HashMap<>();
    Matcher kernel =
        Pattern.compile(
                "Compiling entry function '(\\w+)'.*?(\\d+) bytes spill stores.*?Used (\\d+)"
                    + " registers",
                Pattern.DOTALL)
            .matcher(log);
    while (kernel.find()) {
      String name = kernel.group(1);
      needs.put(
          name,
          new Needs(
              Integer.parseInt(kernel.group(3)),
              Integer.parseInt(kernel.group(2)),
              threads.getOrDefault(name, 0)));
    }
    if (!needs.keySet().equals(threads.keySet())) {
      throw new IllegalStateException(title + " does not compile for " + arch + ":\n" + log);
    }
    return needs;
  }

  /** The assembler of the CUDA toolkit, on the path. */
  static PtxAssembler ofToolkit() {
    return new Toolkit();
  }

  /** The assembler of CUDA 12.0 that comes with JCuda: for machines without the toolkit. */
  static PtxAssembler ofJcuda() {
    return new Jcuda();
  }

  /** The program ptxas. */
  final class Toolkit implements PtxAssembler {
    private @Nullable String version;

    private Toolkit() {}

    @Override
    public synchronized String name() throws IOException, InterruptedException {
      if (version == null) {
        version = run("ptxas", "--version");
      }
      return version;
    }

    @Override
    public String assemble(String ptx, String arch) throws IOException, InterruptedException {
      Path source = Files.createTempFile("sfumato", ".ptx");
      try {
        Files.writeString(source, ptx);
        return run("ptxas", "-v", "-arch=" + arch, "-o", "/dev/null", source.toString());
      } finally {
        Files.delete(source);
      }
    }

    private static String run(String... command) throws IOException, InterruptedException {
      Process p = new ProcessBuilder(command).redirectErrorStream(true).start();
      String log = new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      p.waitFor();
      return log;
    }
  }

  /** JNvPTXCompiler. */
  final class Jcuda implements PtxAssembler {
    /**
     * NVPTXCOMPILE_ERROR_UNSUPPORTED_PTX_VERSION, CUDA_ERROR_UNSUPPORTED_PTX_VERSION in a driver.
     */
    static final int UNSUPPORTED_VERSION = 7;

    private Jcuda() {}

    @Override
    public String name() {
      return "nvPTXCompiler 12.0";
    }

    @Override
    public String assemble(String ptx, String arch) {
      byte[] text = (ptx + "\0").getBytes(StandardCharsets.US_ASCII);
      nvPTXCompilerHandle handle = new nvPTXCompilerHandle();
      int code = JNvPTXCompiler.nvPTXCompilerCreate(handle, text.length - 1, text);
      if (code != 0) {
        throw new IllegalStateException("nvPTXCompilerCreate failed with " + code);
      }
      String[] options = {"--gpu-name=" + arch, "--verbose"};
      code = JNvPTXCompiler.nvPTXCompilerCompile(handle, options.length, options);
      long[] size = new long[1];
      List<String> log = new ArrayList<>();
      JNvPTXCompiler.nvPTXCompilerGetErrorLogSize(handle, size);
      if (size[0] > 0) {
        byte[] bytes = new byte[(int) size[0] + 1];
        JNvPTXCompiler.nvPTXCompilerGetErrorLog(handle, bytes);
        log.add(new String(Arrays.copyOf(bytes, (int) size[0]), StandardCharsets.US_ASCII));
      }
      JNvPTXCompiler.nvPTXCompilerGetInfoLogSize(handle, size);
      if (size[0] > 0) {
        byte[] bytes = new byte[(int) size[0] + 1];
        JNvPTXCompiler.nvPTXCompilerGetInfoLog(handle, bytes);
        log.add(new String(Arrays.copyOf(bytes, (int) size[0]), StandardCharsets.US_ASCII));
      }
      JNvPTXCompiler.nvPTXCompilerDestroy(handle);
      return code == 0 ? String.join("\n", log) : "error " + code + "\n" + log;
    }
  }

  /** Files of what was found. */
  final class Kept {
    private Kept() {}

    private static Path file(String assembler, String arch, String ptx) throws IOException {
      Path folder = EmulatorBuild.moduleFolder().resolve("target/kernel-needs");
      Files.createDirectories(folder);
      try {
        MessageDigest sha = MessageDigest.getInstance("SHA-256");
        sha.update((assembler + "\n" + arch + "\n" + ptx).getBytes(StandardCharsets.UTF_8));
        return folder.resolve(HexFormat.of().formatHex(sha.digest()) + ".txt");
      } catch (NoSuchAlgorithmException e) {
        throw new IllegalStateException(e);
      }
    }

    private static Map<String, Needs> read(Path file) throws IOException {
      Map<String, Needs> needs = new HashMap<>();
      for (String line : Files.readAllLines(file)) {
        String[] f = line.split(" ", -1);
        int registers = Integer.parseInt(f[1]);
        needs.put(f[0], new Needs(registers, Integer.parseInt(f[2]), Integer.parseInt(f[3])));
      }
      return needs;
    }

    private static void write(Path file, Map<String, Needs> needs) throws IOException {
      Path fresh = Files.createTempFile(file.getParent(), "needs", ".new");
      Files.write(
          fresh,
          needs.entrySet().stream()
              .map(
                  e -> {
                    Needs n = e.getValue();
                    return e.getKey() + " " + n.registers + " " + n.spills + " " + n.threads;
                  })
              .toList());
      Files.move(fresh, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    }
  }
}
