// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.cuda.driver.Driver;
import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.tensor.DeviceException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A driver that fails: one line with reason and remedy, and the CPU goes on. */
class DriverFaultsTest {
  @TempDir Path folder;

  /** Output of {@link DriverFaults} under settings of the emulated driver. */
  private String run(Map<String, String> environment, List<String> properties, String... arguments)
      throws IOException, InterruptedException {
    assumeTrue(EmulatorControl.isEmulated(), "faults are made by the emulated driver");
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of("--add-modules", "jdk.incubator.vector"));
    command.addAll(List.of("--enable-native-access=ALL-UNNAMED", "-Xmx256m", "-XX:+UseSerialGC"));
    for (String p : List.of("sfumato.cuda.library", "sfumato.cuda.images")) {
      command.add("-D" + p + "=" + System.getProperty(p));
    }
    command.addAll(properties);
    command.addAll(List.of("-cp", System.getProperty("java.class.path")));
    command.add(DriverFaults.class.getName());
    command.addAll(List.of(arguments));
    Path output = folder.resolve("output.txt");
    ProcessBuilder builder = new ProcessBuilder(command);
    builder.environment().putAll(environment);
    builder.redirectErrorStream(true).redirectOutput(output.toFile());
    Process process = builder.start();
    assertTrue(process.waitFor(60, TimeUnit.SECONDS), "the program hangs");
    String text = Files.readString(output, StandardCharsets.UTF_8);
    assertEquals(0, process.exitValue(), text);
    assertTrue(text.contains("cpu 3.0"), text);
    return text;
  }

  private static void assertSays(String text, String... parts) {
    for (String part : parts) {
      assertTrue(text.contains(part), "'" + part + "' in: " + text);
    }
  }

  @Test
  void withoutADriverTheCpuIsBestAndOneLineSaysWhy() throws Exception {
    String text = run(Map.of(), List.of("-Dsfumato.cuda.library=libsfumato-none.so"), "cuda", "1");
    assertSays(text, "best cpu", "cuda: not used, because no NVIDIA driver was found");
    assertSays(text, "cuda failed: cuda:0: not used, because no NVIDIA", "use --device cpu");
  }

  @Test
  void aDriverWithoutDevicesIsNotUsed() throws Exception {
    String text = run(Map.of("SFUMATO_EMU_INIT", "100"), List.of(), "cuda", "1");
    assertSays(text, "best cpu", "error 100 (no device; does CUDA_VISIBLE_DEVICES hide it?)");
    text = run(Map.of("CUDA_VISIBLE_DEVICES", ""), List.of(), "cuda", "1");
    assertSays(text, "best cpu", "CUDA_VISIBLE_DEVICES");
  }

  @Test
  void anOldDriverAndAnOldDeviceAreNotUsed() throws Exception {
    String text = run(Map.of("SFUMATO_EMU_VERSION", "11080"), List.of(), "cuda", "1");
    assertSays(text, "best cpu", "knows CUDA 11.8 only and the kernels need 12.0; update it");
    text = run(Map.of("SFUMATO_EMU_CAPABILITY", "75"), List.of(), "cuda", "1");
    assertSays(text, "best cpu", "compute capability 7.5 and the kernels need 8.0");
  }

  @Test
  void aDeviceThatDoesNotExistIsRefusedAndOthersWork() throws Exception {
    String text = run(Map.of("SFUMATO_EMU_DEVICES", "2"), List.of(), "cuda:5,cuda:1", "1");
    assertSays(text, "best cuda:0", "cuda:5 failed: cuda:5: there are only 2 devices of this kind");
    assertSays(text, "cuda:1 sum 10.0");
  }

  @Test
  void outOfMemorySaysWhatIsHeldAndSmallerWorkGoesOn() throws Exception {
    Map<String, String> small = Map.of("SFUMATO_EMU_MEMORY", "100000000");
    String text = run(small, List.of(), "cuda", "50000000");
    assertSays(text, "is out of memory: 200.0 MB were asked for", "use smaller batches");
    assertSays(run(small, List.of(), "cuda", "1000"), "cuda sum 10.0");
  }

  @Test
  void aDeviceWhoseMemoryIsFullIsNotUsedAndNothingOfItStays() throws Exception {
    String text = run(Map.of("SFUMATO_EMU_MEMORY", "1000"), List.of(), "cuda,cuda", "1");
    assertSays(text, "cuda:0 (host emulator 0): not used, because its memory is full; see in");
    assertSays(text, "contexts 0");
  }

  @Test
  void aFailedKernelLosesTheDeviceButNotTheProcess() throws Exception {
    Map<String, String> fault = Map.of("SFUMATO_EMU_FAIL_LAUNCH", "1");
    String text = run(fault, List.of("-Dsfumato.cuda.sync=true"), "cuda,cuda", "1");
    assertSays(text, "the device's context is lost", "work on the CPU goes on");
    assertSays(text, "cuda:0 is lost since an earlier error; start a new process");
  }

  @Test
  void anIndexOutsideItsAxisIsAnErrorThatLeavesTheDeviceUsable() throws Exception {
    String text = run(Map.of(), List.of(), "cuda,cuda", "1");
    assertSays(text, "cuda failed: ", "7");
    assertEquals(2, text.split("cuda sum 10.0", -1).length - 1, text);
  }

  @Test
  void aBrokenKernelImageIsNamed() throws Exception {
    for (String arch : List.of("90", "90a")) {
      Files.writeString(folder.resolve("copy.sm_" + arch + ".cubin"), "nothing a driver can read");
    }
    String text = run(Map.of(), List.of("-Dsfumato.cuda.images=" + folder), "cuda", "1");
    assertSays(text, "cuModuleLoadDataEx of kernels copy failed with");
  }

  @Test
  void aFunctionThatTheDriverLacksIsNamedWhenItIsCalled() {
    DeviceException e =
        assertThrows(
            DeviceException.class, () -> call(Driver.bind("cuNoSuchFunction").asType(INT)));
    assertSays(e.getMessage(), "has no function cuNoSuchFunction; update the driver");
  }

  private static final java.lang.invoke.MethodType INT =
      java.lang.invoke.MethodType.methodType(int.class);

  private static void call(java.lang.invoke.MethodHandle function) throws Throwable {
    int code = (int) function.invokeExact();
    assertEquals(-1, code, "unreachable");
  }
}
