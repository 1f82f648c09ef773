// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.cuda.CudaProvider;
import io.sfumato.cuda.driver.Driver;
import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.DeviceException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.Arrays;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The stub of the driver's library, and how the backend takes what it can answer. */
class StubDriverTest {
  @BeforeEach
  void onlyHere() {
    assumeTrue(EmulatorControl.isEmulated());
  }

  private static String answer(Map<String, String> environment, String... arguments) {
    return Subprocess.run(StubDriverTest.class, environment, arguments).output();
  }

  /** What this process sees of devices, or what happens when work goes wrong. */
  public static void main(String[] args) {
    CudaProvider provider = new CudaProvider();
    System.out.println("reason " + provider.unavailable() + ", devices " + provider.count());
    if (args.length == 0) {
      return;
    }
    for (int i = 0; i < provider.count(); i++) {
      System.out.println(Gpu.of(i).device() + " is " + Gpu.of(i).name());
    }
    try {
      switch (args[0]) {
        case "allocation" -> {
          EmulatorControl.failAllocation(1);
          DeviceArray first = new DeviceArray(64 << 20);
          System.out.println("once is survived " + (first.address() != 0));
          EmulatorControl.set("memory", 80 << 20);
          System.out.println(new DeviceArray(64 << 20).address());
        }
        case "launch" -> {
          DeviceArray x = DeviceArray.of(new float[8]);
          EmulatorControl.failLaunch(2);
          for (int i = 0; i < 3; i++) {
            twice(x);
          }
          try {
            x.floats();
          } catch (DeviceException e) {
            System.out.println("first " + e.getMessage());
          }
          twice(x);
        }
        case "overrun" -> {
          // The last allocation of a device's memory ends where its segment ends.
          DeviceArray x = new DeviceArray(64 << 20);
          Gpu.of(0)
              .kernel("sample", "sample_copy_4")
              .block(128)
              .pointer(x.address())
              .pointer(x.address() + (64 << 20) - 64)
              .i32(512)
              .run();
          Gpu.of(0).synchronize();
          System.out.println("overwritten guards " + EmulatorControl.reset());
        }
        default -> {}
      }
    } catch (DeviceException e) {
      System.out.println(e.getMessage());
    }
  }

  private static void twice(DeviceArray x) {
    Gpu.of(0)
        .kernel("sample", "sample_twice_bf16")
        .block(32)
        .pointer(x.address())
        .pointer(x.address())
        .i32(1)
        .run();
  }

  private static void contains(String output, String... parts) {
    for (String part : parts) {
      assertTrue(output.contains(part), part + " is missing in: " + output);
    }
  }

  @Test
  void devicesAreCountedAndMayBeHidden() {
    contains(
        answer(Map.of("SFUMATO_EMU_DEVICES", "2"), "list"),
        "devices 2",
        "cuda:0 is host emulator 0",
        "cuda:1 is host emulator 1");
    contains(
        answer(Map.of("SFUMATO_EMU_DEVICES", "4", "CUDA_VISIBLE_DEVICES", "3,1")), "devices 2");
    contains(
        answer(Map.of("SFUMATO_EMU_DEVICES", "2", "CUDA_VISIBLE_DEVICES", "")),
        "error 100",
        "devices 0");
  }

  @Test
  void driversThatDoNotServeAreExplained() {
    contains(answer(Map.of("SFUMATO_EMU_INIT", "803")), "error 803");
    contains(answer(Map.of("SFUMATO_EMU_VERSION", "11080")), "11.8", "525");
    contains(
        answer(Map.of("SFUMATO_EMU_CAPABILITY", "75"), "list"), "compute capability 7.5", "8.0");
  }

  @Test
  void fullMemoryIsToldAfterASecondTry() {
    contains(
        answer(Map.of(), "allocation"),
        "once is survived true",
        "cuda:0",
        "is out of memory",
        "67.1 MB");
  }

  @Test
  void anErrorOfAKernelStays() {
    contains(
        answer(Map.of(), "launch"), "first ", "CUDA_ERROR_ILLEGAL_ADDRESS", "is lost since an");
  }

  @Test
  void writesOutsideMemoryAreFound() {
    contains(answer(Map.of(), "overrun"), "overwritten guards 1");
  }

  private static void call(String name, MemoryLayout[] types, Object... arguments)
      throws Throwable {
    MethodHandle function = Driver.bind(name, types);
    Driver.check((int) function.invokeWithArguments(arguments), name);
  }

  private static MemoryLayout[] types(MemoryLayout... types) {
    return types;
  }

  @Test
  void aGraphRunsAgainWithTheValuesOfItsRecording() throws Throwable {
    Gpu gpu = Gpu.of(0);
    float[] x = new float[16];
    Arrays.fill(x, 3f);
    try (DeviceArray a = DeviceArray.of(new float[16]);
        DeviceArray b = DeviceArray.of(new float[513]);
        Arena arena = Arena.ofConfined()) {
      MemorySegment handle = arena.allocate(JAVA_LONG);
      call("cuStreamBeginCapture_v2", types(JAVA_LONG, JAVA_INT), gpu.stream(), 0);
      gpu.kernel("sample", "sample_copy_4") // in reverse: the 16 values at the end
          .block(128)
          .pointer(a.address())
          .pointer(b.address() + 4)
          .i32(16)
          .run();
      gpu.zero(b.address(), 8);
      call("cuStreamEndCapture", types(JAVA_LONG, ADDRESS), gpu.stream(), handle);
      long graph = handle.get(JAVA_LONG, 0);
      assertArrayEquals(new float[513], b.floats(), "recording runs nothing");
      call("cuGraphInstantiateWithFlags", types(ADDRESS, JAVA_LONG, JAVA_LONG), handle, graph, 0L);
      long exec = handle.get(JAVA_LONG, 0);
      for (int round = 1; round <= 3; round++) {
        float[] want = new float[513];
        Arrays.fill(want, 497, 513, round);
        Arrays.fill(x, round);
        MemorySegment host = arena.allocate(64, 64).copyFrom(MemorySegment.ofArray(x));
        gpu.upload(host.address(), a.address(), 64);
        call("cuGraphLaunch", types(JAVA_LONG, JAVA_LONG), exec, gpu.stream());
        assertArrayEquals(want, b.floats());
      }
      call("cuGraphExecDestroy", types(JAVA_LONG), exec);
      call("cuGraphDestroy", types(JAVA_LONG), graph);
    }
  }

  @Test
  void workWaitsUntilItIsAskedFor() {
    Gpu gpu = Gpu.of(0);
    gpu.synchronize();
    try (DeviceArray x = DeviceArray.of(new float[8])) {
      twice(x);
      assertEquals(1, EmulatorControl.get("queued"));
      gpu.synchronize();
      assertEquals(0, EmulatorControl.get("queued"));
    }
  }
}
