// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import static io.sfumato.cuda.testing.EmulatorControl.inAllOrders;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.cuda.driver.CudaException;
import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.DeviceException;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Blocks of a cluster read one another's shared memory ({@code cluster_sample.cu}). */
class ClusterKernelsTest {
  private static final String FAMILY = "cluster_sample";
  private static final int THREADS = 70;
  private static final int ROUNDS = 3;

  @BeforeEach
  void needsHopper() {
    assumeTrue(Gpu.of(0).capability() == 90, "clusters need compute capability 9.0");
  }

  private static float[] run(int size, int fault, int blocks) {
    try (DeviceArray out = new DeviceArray(4L * blocks * THREADS)) {
      Gpu.of(0)
          .kernel(FAMILY, FAMILY + "_" + size + "_" + fault)
          .grid(blocks)
          .block(THREADS)
          .shared(4 * THREADS)
          .pointer(out.address())
          .i32(ROUNDS)
          .run();
      return out.floats();
    }
  }

  private static float want(int size, int thread) {
    float sum = 0;
    for (int round = 0; round < ROUNDS; round++) {
      for (int rank = 0; rank < size; rank++) {
        sum += 100F * round + rank + thread * 1e-3F;
      }
    }
    return sum;
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 4, 8})
  void blocksReadWhatTheOthersWrote(int size) throws Throwable {
    inAllOrders(
        () -> {
          float[] got = run(size, 0, 3 * size);
          for (int i = 0; i < got.length; i++) {
            assertEquals(want(size, i % THREADS), got[i], 1e-2F, "thread " + i);
          }
        });
  }

  @Test
  void aGridIsMadeOfWholeClusters() {
    assertThrows(CudaException.class, () -> run(4, 0, 6));
  }

  @Test
  void whatIsWrittenTooEarlyIsWrong() {
    assumeTrue(EmulatorControl.isEmulated());
    float[] got = run(8, 2, 8);
    assertNotEquals(want(8, 0), got[0], 1F);
  }

  @ParameterizedTest
  @CsvSource({
    "1, shared memory is read before it runs",
    "3, the shared memory of a block that has ended is read",
    "4, a thread arrives twice"
  })
  void whatIsUndefinedIsReported(int fault, String words) {
    assumeTrue(EmulatorControl.isEmulated());
    // Another process: an error like this ends the device's use.
    Subprocess.Result result =
        Subprocess.run(ClusterKernelsTest.class, Map.of(), Integer.toString(fault));
    assertTrue(result.output().contains(words), result.output());
  }

  /** Runs the faulty kernel. */
  public static void main(String[] args) {
    try {
      run(8, Integer.parseInt(args[0]), 8);
    } catch (DeviceException e) {
      System.out.println(e.getMessage());
    }
  }
}
