// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import static io.sfumato.cuda.testing.EmulatorControl.inAllOrders;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.driver.Launch;
import io.sfumato.tensor.DeviceException;
import java.lang.foreign.MemorySegment;
import java.math.BigInteger;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Every primitive of {@code dev.h} by a kernel of {@code sample.cu}. On a GPU the same tests
 * confirm what the emulator assumes, first of all which lane holds which element of a matrix.
 */
class SampleKernelsTest {
  private static final Gpu GPU = Gpu.of(0);

  private static Launch kernel(String name) {
    return GPU.kernel("sample", name);
  }

  private static float[] randomFloats(int n, long seed) {
    Random r = new Random(seed);
    float[] x = new float[n];
    for (int i = 0; i < n; i++) {
      x[i] = (float) r.nextGaussian();
    }
    return x;
  }

  private static float bf16(short bits) {
    return Float.intBitsToFloat(bits << 16);
  }

  @Test
  void shufflesMoveValuesBetweenLanes() throws Throwable {
    int n = 96;
    double[] x = IntStream.range(0, n).mapToDouble(i -> i + 0.25).toArray();
    double[] want = new double[4 * n];
    for (int i = 0; i < n; i++) {
      int lane = i % 32;
      int base = i - lane;
      want[4 * i] = x[base + (lane ^ 5)];
      want[4 * i + 1] = x[base + (lane + 3 < 32 ? lane + 3 : lane)];
      want[4 * i + 2] = x[base + (lane >= 7 ? lane - 7 : lane)];
      want[4 * i + 3] = x[base + 13];
    }
    float[] f = new float[n];
    long[] l = new long[n];
    for (int i = 0; i < n; i++) {
      f[i] = (float) x[i];
      l[i] = (long) (4 * x[i]) << 33;
    }
    inAllOrders(
        () -> {
          try (DeviceArray in = DeviceArray.of(MemorySegment.ofArray(x));
              DeviceArray out = new DeviceArray(32L * n)) {
            run("sample_shuffle_f64", n / 32, in, out);
            assertArrayEquals(want, out.doubles());
          }
          try (DeviceArray in = DeviceArray.of(f);
              DeviceArray out = new DeviceArray(16L * n)) {
            run("sample_shuffle_f32", n / 32, in, out);
            float[] got = out.floats();
            for (int i = 0; i < want.length; i++) {
              assertEquals((float) want[i], got[i]);
            }
          }
          try (DeviceArray in = DeviceArray.of(MemorySegment.ofArray(l));
              DeviceArray out = new DeviceArray(32L * n)) {
            run("sample_shuffle_i64", n / 32, in, out);
            long[] got = out.longs();
            for (int i = 0; i < want.length; i++) {
              assertEquals((long) (4 * want[i]) << 33, got[i]);
            }
          }
        });
  }

  private static void run(String name, int blocks, DeviceArray in, DeviceArray out) {
    kernel(name).grid(blocks).block(32).pointer(in.address()).pointer(out.address()).run();
  }

  @ParameterizedTest
  @CsvSource({"32,5", "64,64", "256,1000", "1024,3000"})
  void blocksReduce(int threads, int n) throws Throwable {
    float[] x = new float[3 * n];
    for (int i = 0; i < x.length; i++) {
      x[i] = i * 37 % 101 - 50;
    }
    x[2 * n] = Float.NaN;
    inAllOrders(
        () -> {
          try (DeviceArray in = DeviceArray.of(x);
              DeviceArray out = new DeviceArray(24)) {
            kernel("sample_reduce")
                .grid(3)
                .block(threads)
                .pointer(in.address())
                .pointer(out.address())
                .i32(n)
                .run();
            float[] got = out.floats();
            for (int b = 0; b < 2; b++) {
              float sum = 0;
              float max = -100;
              for (int i = b * n; i < (b + 1) * n; i++) {
                sum += x[i];
                max = Math.max(max, x[i]);
              }
              assertEquals(sum, got[b]);
              assertEquals(max, got[3 + b]);
            }
            assertTrue(Float.isNaN(got[2]) && Float.isNaN(got[5]));
          }
        });
  }

  @Test
  void conversionsRoundToNearestEven() {
    Random random = new Random(3);
    float[] x = new float[4096];
    for (int i = 0; i < x.length; i++) {
      x[i] =
          i % 2 == 0
              ? Float.intBitsToFloat(random.nextInt())
              : Float.float16ToFloat((short) random.nextInt()) * (1 + (i % 5) * 0x1p-11f);
    }
    x[0] = Float.NaN;
    x[1] = Float.POSITIVE_INFINITY;
    x[2] = -0f;
    x[3] = 65520f;
    x[4] = 0x1p-25f;
    try (DeviceArray in = DeviceArray.of(x);
        DeviceArray out = new DeviceArray(4L * x.length);
        DeviceArray raw = new DeviceArray(2L * x.length)) {
      for (String type : new String[] {"bf16", "f16"}) {
        kernel("sample_convert_" + type)
            .grid(x.length / 256)
            .block(256)
            .pointer(in.address())
            .pointer(out.address())
            .pointer(raw.address())
            .i32(x.length)
            .run();
        float[] got = out.floats();
        short[] bits = raw.shorts();
        for (int i = 0; i < x.length; i++) {
          float want;
          if (type.equals("f16")) {
            want = Float.float16ToFloat(Float.floatToFloat16(x[i]));
          } else {
            int u = Float.floatToRawIntBits(x[i]);
            want =
                Float.isNaN(x[i])
                    ? Float.NaN
                    : Float.intBitsToFloat((u + 0x7fff + (u >>> 16 & 1)) & 0xffff0000);
          }
          assertEquals(want, got[i], "value " + x[i]);
          float back = type.equals("f16") ? Float.float16ToFloat(bits[i]) : bf16(bits[i]);
          assertEquals(got[i], back, "packed " + x[i]);
        }
      }
    }
  }

  @Test
  void functionsAreAsExactAsTheySay() {
    float[] x = randomFloats(1024, 5);
    try (DeviceArray in = DeviceArray.of(x);
        DeviceArray out = new DeviceArray(32L * x.length)) {
      kernel("sample_math")
          .grid(4)
          .block(256)
          .pointer(in.address())
          .pointer(out.address())
          .i32(x.length)
          .run();
      float[] y = out.floats();
      for (int i = 0; i < x.length; i++) {
        double v = x[i];
        close(Math.pow(2, v), y[8 * i], 3);
        close(1 / v, y[8 * i + 1], 2);
        close(1 / Math.sqrt(Math.abs(v)), y[8 * i + 2], 3);
        close(Math.tanh(v), y[8 * i + 3], 3);
        assertTrue(Math.abs(y[8 * i + 4]) <= 1 && Math.signum(y[8 * i + 4]) == Math.signum(x[i]));
        assertEquals((float) (v * v - (double) (float) (v * v)), y[8 * i + 5], "an exact rest");
        close(1 / (1 + Math.exp(-v)), y[8 * i + 6], 8);
        int u = Float.floatToRawIntBits(x[i]);
        assertEquals(Float.intBitsToFloat((u + 0x1000) & 0xffffe000), y[8 * i + 7]);
      }
    }
  }

  private static void close(double want, float got, int ulps) {
    assertTrue(
        Math.abs(want - got) <= ulps * Math.ulp((float) want), () -> want + " but got " + got);
  }

  @Test
  void productsHaveUpperHalves() {
    Random random = new Random(1);
    int n = 100;
    long[] a = random.longs(n).toArray();
    long[] b = random.longs(n).toArray();
    try (DeviceArray x = DeviceArray.of(MemorySegment.ofArray(a));
        DeviceArray y = DeviceArray.of(MemorySegment.ofArray(b));
        DeviceArray out = new DeviceArray(16L * n)) {
      kernel("sample_product")
          .block(128)
          .pointer(x.address())
          .pointer(y.address())
          .pointer(out.address())
          .i32(n)
          .run();
      long[] got = out.longs();
      for (int i = 0; i < n; i++) {
        BigInteger p =
            new BigInteger(Long.toUnsignedString(a[i]))
                .multiply(new BigInteger(Long.toUnsignedString(b[i])));
        assertEquals(p.shiftRight(64).longValue(), got[2 * i]);
        assertEquals(p.longValue(), got[2 * i + 1]);
      }
    }
  }

  @Test
  void atomicsCountEveryThread() throws Throwable {
    inAllOrders(
        () -> {
          try (DeviceArray f = new DeviceArray(4);
              DeviceArray d = new DeviceArray(8);
              DeviceArray i = new DeviceArray(4);
              DeviceArray l = new DeviceArray(8);
              DeviceArray m = new DeviceArray(4)) {
            for (DeviceArray a : new DeviceArray[] {f, i, m}) {
              GPU.zero(a.address(), 4);
            }
            GPU.zero(d.address(), 8);
            GPU.zero(l.address(), 8);
            kernel("sample_atomics")
                .grid(40)
                .block(96)
                .pointer(f.address())
                .pointer(d.address())
                .pointer(i.address())
                .pointer(l.address())
                .pointer(m.address())
                .run();
            assertEquals(3840f, f.floats()[0]);
            assertEquals(3840.0, d.doubles()[0]);
            assertEquals(3840, i.ints()[0]);
            assertEquals(3840, l.longs()[0]);
            assertEquals(3839, m.ints()[0]);
          }
        });
  }

  @Test
  void barriersHoldBackPartsOfABlock() throws Throwable {
    int[] x = IntStream.range(0, 256).map(i -> 3 * i).toArray();
    inAllOrders(
        () -> {
          try (DeviceArray in = DeviceArray.of(MemorySegment.ofArray(x));
              DeviceArray out = new DeviceArray(257 * 4)) {
            kernel("sample_barriers").block(256).pointer(in.address()).pointer(out.address()).run();
            int[] got = out.ints();
            for (int t = 0; t < 256; t++) {
              assertEquals(x[(255 - t) ^ 32], got[t]);
            }
            assertEquals(128, got[256]);
          }
        });
  }

  @ParameterizedTest
  @CsvSource({"16,1000", "8,998", "4,997", "16,3", "8,1024", "16,1021"})
  void asynchronousCopiesFillWithZeros(int width, int n) throws Throwable {
    float[] x = randomFloats(1024, 9);
    inAllOrders(
        () -> {
          try (DeviceArray in = DeviceArray.of(x);
              DeviceArray out = new DeviceArray(4096)) {
            kernel("sample_copy_" + width)
                .grid(2)
                .block(128)
                .pointer(in.address())
                .pointer(out.address())
                .i32(n)
                .run();
            float[] got = out.floats();
            for (int i = 0; i < 1024; i++) {
              int from = i / 512 * 512 + 511 - i % 512;
              assertEquals(from < n ? x[from] : 0f, got[i]);
            }
          }
        });
  }

  @Test
  void vectorsStreamThrough() {
    short[] x = new short[8 * 100];
    for (int i = 0; i < x.length; i++) {
      x[i] = (short) (Float.floatToRawIntBits(i / 8f) >>> 16);
    }
    try (DeviceArray in = DeviceArray.of(MemorySegment.ofArray(x));
        DeviceArray out = new DeviceArray(2L * x.length)) {
      kernel("sample_twice_bf16")
          .block(128)
          .pointer(in.address())
          .pointer(out.address())
          .i32(100)
          .run();
      short[] got = out.shorts();
      for (int i = 0; i < x.length; i++) {
        assertEquals(2 * bf16(x[i]), bf16(got[i]));
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"bf16", "bf16_bt", "f16", "bf16_k8", "f16_k8"})
  void matrixFragmentsLieAsDescribed(String variant) throws Throwable {
    boolean transposed = variant.equals("bf16_bt") || variant.equals("f16_k8");
    boolean half = variant.startsWith("f16");
    float[] a = new float[256];
    float[] b = new float[128];
    Random random = new Random(11);
    for (int i = 0; i < a.length; i++) {
      a[i] = random.nextInt(33) - 16;
    }
    for (int i = 0; i < b.length; i++) {
      b[i] = random.nextInt(33) - 16;
    }
    float[] given = new float[128];
    for (int k = 0; k < 16; k++) {
      for (int j = 0; j < 8; j++) {
        given[transposed ? j * 16 + k : k * 8 + j] = b[k * 8 + j];
      }
    }
    float[] want = product(a, b, 16);
    inAllOrders(
        () -> {
          try (DeviceArray x = DeviceArray.of(MemorySegment.ofArray(bits(a, half)));
              DeviceArray y = DeviceArray.of(MemorySegment.ofArray(bits(given, half)));
              DeviceArray out = new DeviceArray(512)) {
            kernel("sample_mma_" + variant)
                .block(32)
                .pointer(x.address())
                .pointer(y.address())
                .pointer(out.address())
                .run();
            assertArrayEquals(want, out.floats());
          }
        });
  }

  @Test
  void matrixFragmentsOfTf32LieAsDescribed() throws Throwable {
    float[] a = new float[128];
    float[] b = new float[64];
    Random random = new Random(12);
    for (int i = 0; i < a.length; i++) {
      a[i] = random.nextInt(257) - 128;
    }
    for (int i = 0; i < b.length; i++) {
      b[i] = random.nextInt(257) - 128;
    }
    float[] want = product(a, b, 8);
    inAllOrders(
        () -> {
          try (DeviceArray x = DeviceArray.of(a);
              DeviceArray y = DeviceArray.of(b);
              DeviceArray out = new DeviceArray(512)) {
            kernel("sample_mma_tf32")
                .block(32)
                .pointer(x.address())
                .pointer(y.address())
                .pointer(out.address())
                .run();
            assertArrayEquals(want, out.floats());
          }
        });
  }

  private static short[] bits(float[] x, boolean half) {
    short[] s = new short[x.length];
    for (int i = 0; i < s.length; i++) {
      s[i] = half ? Float.floatToFloat16(x[i]) : (short) (Float.floatToRawIntBits(x[i]) >>> 16);
    }
    return s;
  }

  /** 16 x k times k x 8, row major. */
  private static float[] product(float[] a, float[] b, int k) {
    float[] c = new float[128];
    for (int i = 0; i < 16; i++) {
      for (int j = 0; j < 8; j++) {
        for (int l = 0; l < k; l++) {
          c[i * 8 + j] += a[i * k + l] * b[l * 8 + j];
        }
      }
    }
    return c;
  }

  @ParameterizedTest
  @ValueSource(ints = {32, 999, 1024})
  void dynamicSharedMemoryServes(int n) throws Throwable {
    float[] x = randomFloats(n, n);
    inAllOrders(
        () -> {
          try (DeviceArray in = DeviceArray.of(x);
              DeviceArray out = new DeviceArray(4L * n)) {
            reverse(in, out, n, 0);
            float[] got = out.floats();
            for (int i = 0; i < n; i++) {
              assertEquals(x[n - 1 - i], got[i]);
            }
          }
        });
  }

  private static void reverse(DeviceArray in, DeviceArray out, int n, int fault) {
    kernel("sample_dynamic")
        .block(1024)
        .shared(4 * n)
        .pointer(in.address())
        .pointer(out.address())
        .i32(n)
        .i32(fault)
        .run();
  }

  @Test
  void aMissingBarrierShowsInSomeOrder() {
    assumeTrue(EmulatorControl.isEmulated());
    float[] x = randomFloats(1000, 4);
    AssertionError e =
        assertThrows(
            AssertionError.class,
            () ->
                inAllOrders(
                    () -> {
                      try (DeviceArray in = DeviceArray.of(x);
                          DeviceArray out = new DeviceArray(4000)) {
                        reverse(in, out, 1000, 1);
                        float[] got = out.floats();
                        for (int i = 0; i < 1000; i++) {
                          assertEquals(x[999 - i], got[i]);
                        }
                      }
                    }));
    assertTrue(e.getSuppressed()[0].getMessage().contains("order"), e.toString());
  }

  @ParameterizedTest
  @CsvSource({"2,deadlock", "3,write past the 4000 bytes of dynamic shared memory", "4,trap"})
  void whatWouldHangOrCrashIsReported(int fault, String words) {
    assumeTrue(EmulatorControl.isEmulated());
    // Another process: an error like this ends the device's use.
    Subprocess.Result result =
        Subprocess.run(SampleKernelsTest.class, java.util.Map.of(), Integer.toString(fault));
    assertTrue(result.output().contains("CUDA_ERROR_LAUNCH_FAILED"), result.output());
    assertTrue(result.output().contains("sample_dynamic: " + words), result.output());
    assertTrue(result.output().contains("block (0,0,0)"), result.output());
  }

  /** Runs the faulty kernel. */
  public static void main(String[] args) {
    float[] x = randomFloats(1000, 4);
    DeviceArray in = DeviceArray.of(x);
    DeviceArray out = new DeviceArray(4000);
    try {
      reverse(in, out, 1000, Integer.parseInt(args[0]));
      out.floats();
    } catch (DeviceException e) {
      System.out.println(e.getMessage());
    }
  }
}
