// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import static io.sfumato.cuda.testing.EmulatorControl.inAllOrders;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.cuda.driver.CudaException;
import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.driver.TensorMap;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.DeviceException;
import java.lang.foreign.MemorySegment;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Every primitive of {@code hopper.h} by a kernel of {@code hopper_sample.cu}. On a Hopper GPU the
 * same tests confirm what the emulator assumes: layouts of fragments, descriptors, barriers.
 */
class HopperKernelsTest {
  private static final String FAMILY = "hopper_sample";
  private static final int ROWS = 64;
  private static final int DEPTH = 128;

  @BeforeEach
  void needsHopper() {
    assumeTrue(Gpu.of(0).capability() == 90, "wgmma needs compute capability 9.0");
  }

  /** Operands of one product, and what it is. */
  private record Case(int n, short[] a, short[] b, float[] want) {
    static Case of(boolean half, int n, boolean aByK, boolean bByK) {
      SplittableRandom random = new SplittableRandom(n);
      short[] a = new short[ROWS * DEPTH];
      short[] b = new short[n * DEPTH];
      float[] want = new float[ROWS * n];
      float[] x = values(random, a, half);
      float[] y = values(random, b, half);
      for (int i = 0; i < ROWS; i++) {
        for (int j = 0; j < n; j++) {
          double sum = 0;
          for (int k = 0; k < DEPTH; k++) {
            sum +=
                (double) x[aByK ? i * DEPTH + k : k * ROWS + i]
                    * y[bByK ? j * DEPTH + k : k * n + j];
          }
          want[i * n + j] = (float) sum;
        }
      }
      return new Case(n, a, b, want);
    }

    /** Fills an array with 16-bit values; returns them as floats. */
    private static float[] values(SplittableRandom random, short[] bits, boolean half) {
      float[] values = new float[bits.length];
      for (int i = 0; i < bits.length; i++) {
        float x = (float) random.nextDouble(-2, 2);
        bits[i] =
            half ? Float.floatToFloat16(x) : (short) (Float.floatToRawIntBits(x) >>> Short.SIZE);
        values[i] =
            half ? Float.float16ToFloat(bits[i]) : Float.intBitsToFloat(bits[i] << Short.SIZE);
      }
      return values;
    }

    float[] run(String name) {
      try (DeviceArray left = DeviceArray.of(MemorySegment.ofArray(a));
          DeviceArray right = DeviceArray.of(MemorySegment.ofArray(b));
          DeviceArray out = new DeviceArray(4L * want.length)) {
        Gpu.of(0)
            .kernel(FAMILY, FAMILY + "_" + name)
            .block(128)
            .shared(2 * 128 * (ROWS + (n + 63) / 64 * 64))
            .pointer(left.address())
            .pointer(right.address())
            .pointer(out.address())
            .run();
        return out.floats();
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"bf16, 8", "bf16, 40", "bf16, 128", "bf16, 256", "f16, 80"})
  void productsReadOperandsAsDescribed(String type, int n) throws Throwable {
    for (String suffix : new String[] {"kk", "kr", "rk", "rr", "register_k", "register_r"}) {
      boolean aByK = suffix.startsWith("k") || suffix.startsWith("register");
      Case c = Case.of(type.equals("f16"), n, aByK, suffix.endsWith("k"));
      String name = type + "_" + n + "_" + suffix;
      inAllOrders(() -> assertArrayEquals(c.want, c.run(name), 1e-4f, name));
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {3, 5})
  void resultsThatNobodyWaitedForAreNoNumbers(int fault) throws Throwable {
    assumeTrue(EmulatorControl.isEmulated());
    Case c = Case.of(false, 40, true, true);
    inAllOrders(
        () -> {
          for (float x : c.run("bf16_40_bad_" + fault)) {
            assertTrue(Float.isNaN(x));
          }
        });
  }

  @ParameterizedTest
  @CsvSource({
    "1, no fence_proxy_async between a write of shared memory and its reading",
    "2, no wgmma_fence of these accumulators since they could be written",
    "4, accumulators were written to before wgmma_wait",
    "6, deadlock"
  })
  void whatIsUndefinedIsReported(int fault, String words) {
    assumeTrue(EmulatorControl.isEmulated());
    // Another process: an error like this ends the device's use.
    Subprocess.Result result =
        Subprocess.run(HopperKernelsTest.class, Map.of(), Integer.toString(fault));
    assertTrue(result.output().contains(words), result.output());
  }

  /** Runs the faulty kernel. */
  public static void main(String[] args) {
    try {
      int fault = Integer.parseInt(args[0]);
      if (fault == 6) {
        ring(1);
      } else {
        Case.of(false, 40, true, true).run("bf16_40_bad_" + fault);
      }
    } catch (DeviceException e) {
      System.out.println(e.getMessage());
    }
  }

  /** Boxes inside, over the edges, and outside of a matrix of 70 lines of 100 values. */
  @ParameterizedTest
  @CsvSource({"0, 0", "32, 6", "64, 32", "96, 65", "128, 0", "0, 70"})
  void boxesHaveZerosOutside(int column, int row) throws Throwable {
    int pitch = 104;
    short[] x = new short[70 * pitch];
    for (int i = 0; i < x.length; i++) {
      x[i] = (short) (i + 1);
    }
    inAllOrders(
        () -> {
          try (DeviceArray in = DeviceArray.of(MemorySegment.ofArray(x));
              DeviceArray out = new DeviceArray(2 * 64 * 64)) {
            Gpu.of(0)
                .kernel(FAMILY, FAMILY + "_box")
                .block(128)
                .shared(128 * 64 + 8)
                .longs(TensorMap.of(DType.F16, in.address(), 100, 70, pitch, 64))
                .pointer(out.address())
                .i32(column)
                .i32(row)
                .run();
            short[] got = out.shorts();
            for (int i = 0; i < got.length; i++) {
              int line = row + i / 64;
              int place = column + i % 64;
              int want = line < 70 && place < 100 ? x[line * pitch + place] : 0;
              assertEquals(want, got[i], "line " + line + ", value " + place);
            }
          }
        });
  }

  @Test
  void mapsThatTheUnitCannotReadAreRefused() {
    try (DeviceArray in = new DeviceArray(1 << 16)) {
      long at = in.address();
      assertThrows(CudaException.class, () -> TensorMap.of(DType.F16, at + 2, 64, 64, 64, 64));
      assertThrows(CudaException.class, () -> TensorMap.of(DType.F16, at, 64, 64, 65, 64));
      assertThrows(CudaException.class, () -> TensorMap.of(DType.F16, at, 64, 64, 64, 257));
    }
  }

  private static void ring(int fault) {
    int n = 128 * 9;
    float[] x = new float[n];
    for (int i = 0; i < n; i++) {
      x[i] = i;
    }
    try (DeviceArray in = DeviceArray.of(x);
        DeviceArray out = new DeviceArray(4L * n)) {
      Gpu.of(0)
          .kernel(FAMILY, FAMILY + "_ring")
          .block(256)
          .shared(32 + 2 * 512)
          .pointer(in.address())
          .pointer(out.address())
          .i32(n)
          .i32(fault)
          .run();
      float[] got = out.floats();
      for (int i = 0; i < n; i++) {
        assertEquals(2 * x[i / 128 * 128 + 127 - i % 128], got[i], "at " + i);
      }
    }
  }

  @Test
  void barriersHandARingOn() throws Throwable {
    inAllOrders(() -> ring(0));
  }
}
