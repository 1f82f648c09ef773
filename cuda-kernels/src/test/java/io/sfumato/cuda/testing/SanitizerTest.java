// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.cuda.driver.DriverLibrary;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The tests of all kernels under the address and undefined-behaviour sanitizers of g++: reads and
 * writes outside device, shared and local memory, misaligned accesses, overflows.
 */
@Tag("slow")
class SanitizerTest {
  private static final List<String> FLAGS =
      List.of(
          "-O1",
          "-g",
          "-fsanitize=address,undefined",
          "-fno-sanitize=vptr",
          "-fno-sanitize-recover=undefined",
          "-fno-omit-frame-pointer",
          // The stacks of fibers go back to the system with what they mark; indices of local
          // arrays are checked as undefined behaviour.
          "--param=asan-stack=0");

  private static String runtime() throws IOException {
    Process p = new ProcessBuilder("g++", "-print-file-name=libasan.so").start();
    return new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "AttentionKernelsTest",
        "ConvKernelsTest",
        "CudaOpCasesTest",
        "ElementwiseKernelsTest",
        "IndexKernelsTest",
        "MoveKernelsTest",
        "NormKernelsTest",
        "ReduceKernelsTest",
        "ResampleKernelsTest",
        "UpdateKernelsTest",
        "launch.GemmKernelsTest",
        "testing.SampleKernelsTest"
      })
  void findsNothing(String tests) throws IOException {
    assumeTrue(EmulatorControl.isEmulated());
    Path module = EmulatorBuild.moduleFolder();
    Path folder =
        EmulatorBuild.of(module)
            .withFlags(FLAGS, module.resolve("target/emulator-sanitized"))
            .build();
    Subprocess.Result result =
        Subprocess.run(
            MutantRun.class,
            Map.of(
                "LD_PRELOAD",
                runtime(),
                "ASAN_OPTIONS",
                "handle_segv=0:handle_sigbus=0:allow_user_segv_handler=1:detect_leaks=0"
                    + ":detect_stack_use_after_return=0",
                "UBSAN_OPTIONS",
                "print_stacktrace=1"),
            "-D" + DriverLibrary.PROPERTY + "=" + folder.resolve("libcuda.so.1"),
            "-Dsfumato.cuda.exact=true",
            "io.sfumato.cuda." + tests);
    assertEquals(0, result.exit(), result.output());
  }
}
