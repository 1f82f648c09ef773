// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import jcuda.nvptxcompiler.JNvPTXCompiler;
import jcuda.nvptxcompiler.nvPTXCompilerHandle;

/** Compiles PTX to machine code and tells what each kernel needs. */
interface PtxAssembler {
  /**
   * What a kernel needs.
   *
   * @param registers of a thread
   * @param spills bytes stored to local memory for want of registers
   * @param threads the most threads of a block by its launch bounds, 0 without
   */
  record Needs(int registers, int spills, int threads) {}

  /** The messages of the assembler, in its verbose mode. */
  String assemble(String ptx, String arch) throws IOException, InterruptedException;

  /** What the kernels of a file need. */
  default Map<String, Needs> needs(Path file, String arch)
      throws IOException, InterruptedException {
    String ptx = KernelImages.read(file);
    Map<String, Integer> threads = new HashMap<>();
    Matcher entry = Pattern.compile("\\.entry (\\w+)\\(([^{]*)\\{").matcher(ptx);
    while (entry.find()) {
      Matcher bound = Pattern.compile("\\.maxntid (\\d+)").matcher(entry.group(2));
      threads.put(entry.group(1), bound.find() ? Integer.parseInt(bound.group(1)) : 0);
    }
    String log = assemble(ptx, arch);
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
      throw new IllegalStateException(
          file.getFileName() + " does not compile for " + arch + ":\n" + log);
    }
    return needs;
  }

  /** The assembler of the CUDA toolkit, on the path. */
  static PtxAssembler ofToolkit() {
    return (ptx, arch) -> {
      Path source = Files.createTempFile("sfumato", ".ptx");
      try {
        Files.writeString(source, ptx);
        Process p =
            new ProcessBuilder("ptxas", "-v", "-arch=" + arch, "-o", "/dev/null", source.toString())
                .redirectErrorStream(true)
                .start();
        String log = new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        p.waitFor();
        return log;
      } finally {
        Files.delete(source);
      }
    };
  }

  /** The assembler of CUDA 12.0 that comes with JCuda: for machines without the toolkit. */
  static PtxAssembler ofJcuda() {
    return (ptx, arch) -> {
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
    };
  }
}
