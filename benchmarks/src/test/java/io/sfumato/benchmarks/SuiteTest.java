// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.ops.Num;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.ToIntFunction;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

final class SuiteTest {
  private static final Path PEER = Path.of("peers", "torch_suite.py");

  @Test
  void bothSidesHaveTheSameCasesInTheSameOrder() throws IOException {
    Matcher list =
        Pattern.compile("^NAMES = \"\"\"(.*?)\"\"\"", Pattern.DOTALL | Pattern.MULTILINE)
            .matcher(Files.readString(PEER));
    assertTrue(list.find(), "no list of names in " + PEER);
    assertEquals(List.of(list.group(1).strip().split("\\s+")), SuiteCases.names());
  }

  @Test
  void selectionFindsPartsOfNames() {
    assertEquals(List.of("gemm_256"), Suite.selected("^gemm_256$"));
    assertEquals(2, Suite.selected("attention.*_bwd").size());
    assertEquals(SuiteCases.names(), Suite.selected(""));
  }

  @Test
  void whatCannotBeServedIsRefusedInOneLine() {
    refused(Suite::run, "--device cuda:7: cuda:7:", "--device", "cuda:7");
    refused(Suite::run, "unknown device 'tpu'", "--device", "tpu");
    refused(Suite::run, "f32 and bf16 only", "--dtype", "f64");
    refused(Suite::run, "no case has such a name", "--only", "nothing");
    refused(Suite::run, "--only (:", "--only", "(");
    refused(Suite::run, "at least 1", "--threads", "0");
    refused(Suite::run, "--passes must be at least 1", "--passes", "0");
    refused(Suite::run, "'x' is not an int", "--threads", "x");
    refused(Suite::run, "a process for each case", "--memory", "--only", "gemm");
    refused(Suite::run, "Unknown option", "--fast");
    refused(Compare::run, "at least 1", "--rounds", "0");
    refused(Compare::run, "at least 1", "--threads", "1,0");
    refused(Compare::run, "f32 and bf16 only", "--dtype", "f16");
    refused(Compare::run, "--device nowhere", "--device", "nowhere");
    refused(Compare::run, "no-such.py is not there", "--peer", "no-such.py");
    refused(Stability::run, "at least 1", "--runs", "0");
    refused(Stability::run, "at least 1", "--passes", "0");
    refused(Stability::run, "no case has such a name", "--only", "nothing");
  }

  @Test
  void aPythonWithoutPyTorchIsRefusedWithTheRemedy() {
    String line =
        refused(
            Compare::run,
            "no-such-python",
            "--python",
            "no-such-python",
            "--peer",
            PEER.toString());
    assertTrue(line.contains("pip install -r " + PEER.resolveSibling("requirements.txt")), line);
  }

  @Test
  void noOpOfACaseMayLeaveItsType() {
    Scope.run(
        () -> {
          Tensor x = Rng.seed(1).normal(128, 128);
          Tensor half = x.to(DType.BF16);
          assertEquals(DType.BF16, only(half).dtype());
          assertThrows(DTypeException.class, () -> only(x));
        });
  }

  private static Tensor only(Tensor x) {
    return Executor.with(
        new OnlyDType(Executor.current(), DType.BF16), () -> Num.matmul(x, x).to(DType.BF16));
  }

  @Test
  void residentSetIsReadFromTheStatusOfLinux() {
    String status = "Name:\tjava\nVmHWM:\t  2048 kB\nVmRSS:\t  1536 kB\n";
    assertEquals(2, ResidentSet.megabytes(status, "VmHWM"));
    assertEquals(1.5, ResidentSet.megabytes(status, "VmRSS"));
    assertThrows(Programs.Refusal.class, () -> ResidentSet.megabytes(status, "VmSwap"));
  }

  /** The one line that a program prints before it ends with code 2. */
  private static String refused(ToIntFunction<String[]> program, String part, String... args) {
    PrintStream before = System.err;
    ByteArrayOutputStream printed = new ByteArrayOutputStream();
    System.setErr(new PrintStream(printed, true, StandardCharsets.UTF_8));
    int code;
    try {
      code = program.applyAsInt(args);
    } finally {
      System.setErr(before);
    }
    String text = printed.toString(StandardCharsets.UTF_8);
    assertEquals(Programs.REFUSED, code, text);
    assertEquals(1, text.lines().count(), text);
    assertTrue(text.contains(part), text);
    return text;
  }
}
