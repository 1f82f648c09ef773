// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.cuda.driver.Gpu;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Sums of tensor cores to the bit, as {@code emu_tensor.h} describes them; on a GPU whether they
 * are so.
 */
class TensorCoresTest {
  private static final Gpu GPU = Gpu.of(0);

  /** Types of operands, with the products of an instruction and the digits of a value. */
  enum Operand {
    BF16(16, 8, -126),
    F16(16, 11, -14),
    TF32(8, 11, -126);

    private final int products;
    private final int digits;
    private final int leastExponent;

    Operand(int products, int digits, int leastExponent) {
      this.products = products;
      this.digits = digits;
      this.leastExponent = leastExponent;
    }

    private int exponent(float x) {
      return Math.max(Math.getExponent(x), leastExponent);
    }

    /** Some number of the type, of one of 24 exponents, or zero. */
    private float random(Random random) {
      int significand = random.nextInt(1 << (digits - 1)) + (1 << (digits - 1));
      float x = Math.scalb((float) significand, 1 - digits + random.nextInt(24) - 12);
      return random.nextInt(20) == 0 ? 0 : random.nextBoolean() ? x : -x;
    }

    private DeviceArray onDevice(float[] x) {
      short[] bits = new short[x.length];
      for (int i = 0; i < x.length; i++) {
        bits[i] =
            this == F16
                ? Float.floatToFloat16(x[i])
                : (short) (Float.floatToRawIntBits(x[i]) >>> 16);
      }
      return this == TF32 ? DeviceArray.of(x) : DeviceArray.of(MemorySegment.ofArray(bits));
    }
  }

  /** What the device adds to c [16][8]: a [16][products] times b [products][8]. */
  private static float[] sums(Operand type, float[] a, float[] b, float[] c) {
    try (DeviceArray x = type.onDevice(a);
        DeviceArray y = type.onDevice(b);
        DeviceArray out = DeviceArray.of(c)) {
      GPU.kernel("sample", "sample_accumulate_" + type.name().toLowerCase(java.util.Locale.ROOT))
          .block(32)
          .pointer(x.address())
          .pointer(y.address())
          .pointer(out.address())
          .run();
      return out.floats();
    }
  }

  /** Runs a test for the kinds of tensor cores that can be had. */
  private static void forEachCapability(java.util.function.IntConsumer test) {
    if (!EmulatorControl.isEmulated()) {
      test.accept(GPU.capability());
      return;
    }
    long before = EmulatorControl.get("capability");
    try {
      for (int capability : new int[] {80, 89, 90, 120}) {
        EmulatorControl.set("capability", capability);
        test.accept(capability);
      }
    } finally {
      EmulatorControl.set("capability", before);
    }
  }

  private static float expected(Operand type, int capability, float c, float[] a, float[] b) {
    int group = type == Operand.TF32 ? 4 : 8;
    int extra = 1;
    if (capability >= 90) {
      group *= 2;
      extra = 2;
    }
    float sum = c;
    for (int from = 0; from < a.length; from += group) {
      int top = sum == 0 ? Integer.MIN_VALUE : Math.max(Math.getExponent(sum), -126);
      for (int k = from; k < from + group; k++) {
        if (a[k] != 0 && b[k] != 0) {
          top = Math.max(top, type.exponent(a[k]) + type.exponent(b[k]));
        }
      }
      if (top > Integer.MIN_VALUE) {
        int unit = top - 23 - extra;
        long units = (long) Math.scalb((double) sum, -unit); // a cast cuts off
        for (int k = from; k < from + group; k++) {
          units += (long) Math.scalb((double) a[k] * b[k], -unit);
        }
        sum = cutOff(Math.scalb((double) units, unit));
      }
    }
    return sum;
  }

  private static float cutOff(double x) {
    float nearest = (float) x;
    return Math.abs(nearest) > Math.abs(x) ? Math.nextAfter(nearest, 0) : nearest;
  }

  @ParameterizedTest
  @EnumSource(Operand.class)
  void sumsAreThoseOfTheModel(Operand type) {
    int n = type.products;
    Random random = new Random(5);
    forEachCapability(
        capability -> {
          int unlikeNearest = 0;
          for (int run = 0; run < 20; run++) {
            float[] a = new float[16 * n];
            float[] b = new float[n * 8];
            float[] c = new float[128];
            for (int i = 0; i < a.length; i++) {
              a[i] = type.random(random);
            }
            for (int i = 0; i < b.length; i++) {
              b[i] = type.random(random);
            }
            for (int i = 0; i < c.length; i++) {
              c[i] = run == 0 ? 0 : (float) Math.scalb(random.nextGaussian(), random.nextInt(16));
            }
            float[] want = new float[128];
            for (int i = 0; i < 128; i++) {
              float[] row = Arrays.copyOfRange(a, i / 8 * n, (i / 8 + 1) * n);
              float[] column = new float[n];
              double sum = c[i];
              for (int k = 0; k < n; k++) {
                column[k] = b[k * 8 + i % 8];
                sum += (double) row[k] * column[k];
              }
              want[i] = expected(type, capability, c[i], row, column);
              unlikeNearest += want[i] == (float) sum ? 0 : 1;
            }
            assertArrayEquals(want, sums(type, a, b, c), type + " on " + capability);
          }
          assertTrue(unlikeNearest > 500, "all are the nearest: " + unlikeNearest);
        });
  }

  /** c + the products a[k] times 1, the rest of them 0. */
  private static float sum(Operand type, float c, float... products) {
    float[] a = new float[16 * type.products];
    System.arraycopy(products, 0, a, 0, products.length);
    float[] b = new float[8 * type.products];
    Arrays.fill(b, 1);
    float[] given = new float[128];
    given[0] = c;
    return sums(type, a, b, given)[0];
  }

  @Test
  void sumsAreCutOff() {
    forEachCapability(
        capability -> {
          for (Operand type : List.of(Operand.BF16, Operand.TF32)) {
            String what = type + " on " + capability;
            assertEquals(0x1p24f, sum(type, 0x1p24f, 1.75f), what); // the nearest is 2^24 + 2
            assertEquals(-0x1p24f, sum(type, -0x1p24f, -1.75f), what);
            float[] few = {0x1p-25f, 0x1p-25f, 0x1p-25f, 0x1p-25f};
            boolean kept = capability >= 90;
            assertEquals(kept ? 1 + 0x1p-23f : 1, sum(type, 1, few), what);
            float[] fewer = {0x1p-26f, 0x1p-26f, 0x1p-26f, 0x1p-26f};
            assertEquals(0, sum(type, 1, -1, 0x1p-26f), what);
            assertEquals(1, sum(type, 1, fewer), what);
            assertEquals(0x1p-24f, sum(type, 0, fewer), what);
          }
        });
  }

  @Test
  void whatIsNotFiniteStaysSo() {
    float inf = Float.POSITIVE_INFINITY;
    assertEquals(inf, sum(Operand.BF16, 1, inf, 2));
    assertEquals(Float.NaN, sum(Operand.TF32, 1, inf, -inf));
    assertEquals(Float.NaN, sum(Operand.F16, Float.NaN, 1));
    assertEquals(-inf, sum(Operand.BF16, -inf, 1));
    assertEquals(0x1p-149f, sum(Operand.TF32, 0x1p-149f, 0));
  }
}
