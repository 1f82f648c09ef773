// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class TorchGeneratorTest {
  /** The largest distance from PyTorch's float64 normals met in the golden data, in last places. */
  private static final long MAX_ULP_F64 = 2;

  /** One golden call; {@code want} is positioned at its result. */
  private record Call(
      String name,
      int step,
      long seed,
      String function,
      String dtype,
      int count,
      String first,
      String second,
      ByteBuffer want) {
    String label() {
      return name + " step " + step;
    }
  }

  @Test
  void uniformNumbersAreThoseOfTorch() throws IOException {
    assertTrue(replay("rand") >= 2 * 12 * 5);
    assertTrue(replay("uniform") >= 2 * 5);
  }

  @Test
  void integersAreThoseOfTorch() throws IOException {
    assertTrue(replay("randint") >= 7 * 5);
  }

  @Test
  void permutationsAreThoseOfTorch() throws IOException {
    assertTrue(replay("randperm") >= 12 * 5);
  }

  @Test
  void normalNumbersAreThoseOfTorch() throws IOException {
    assertTrue(replay("randn") >= 2 * 12 * 5);
    assertTrue(replay("normal") >= 2 * 3 * 5);
  }

  @Test
  void callsInARowAreThoseOfTorch() throws IOException {
    assertTrue(replay("sequence") >= 18 * 5);
  }

  @Test
  void continuesFromItsOwnState() {
    for (int drawn : new int[] {0, 1, 7, 312, 624, 625, 2000}) {
      TorchGenerator original = new TorchGenerator(drawn);
      original.randint(0, 10, drawn);
      original.randn(drawn % 2 == 0 ? 3 : 4);
      byte[] state = original.state();
      TorchGenerator copy = new TorchGenerator(99);
      copy.randn(1);
      copy.setState(state);
      assertArrayEquals(state, copy.state());
      assertEquals(original.initialSeed(), copy.initialSeed());
      assertArrayEquals(original.randn(5), copy.randn(5));
      assertArrayEquals(original.rand(1300), copy.rand(1300));
    }
  }

  @Test
  void seedingDropsTheWaitingNumber() {
    TorchGenerator generator = new TorchGenerator(5);
    float[] first = generator.randn(1);
    generator.seed(5);
    assertArrayEquals(first, generator.randn(1));
  }

  @Test
  void onlyTheLow32BitsOfASeedMatter() {
    assertArrayEquals(new TorchGenerator(7).rand(3), new TorchGenerator(7 + (5L << 32)).rand(3));
  }

  @Test
  void nothingIsDrawnForNothing() {
    TorchGenerator generator = new TorchGenerator(1);
    byte[] before = generator.state();
    assertEquals(0, generator.randn(0).length);
    assertEquals(0, generator.randperm(0).length);
    assertEquals(0, generator.randperm(1)[0]);
    assertArrayEquals(before, generator.state());
  }

  @Test
  void refusesWhatHasNoMeaning() {
    TorchGenerator generator = new TorchGenerator(1);
    assertThrows(IllegalArgumentException.class, () -> generator.rand(-1));
    assertThrows(IllegalArgumentException.class, () -> generator.randint(3, 3, 1));
    assertThrows(IllegalArgumentException.class, () -> generator.fillNormal(0, 1, 0f, -1f));
    assertThrows(IllegalArgumentException.class, () -> generator.fillUniform(0, 1, 2f, 1f));
    assertThrows(IllegalArgumentException.class, () -> generator.setState(new byte[10]));
    assertThrows(
        IllegalArgumentException.class,
        () -> generator.setState(new byte[TorchGenerator.STATE_BYTES]));
  }

  /** Runs the golden calls whose case starts with {@code prefix}; returns how many there were. */
  private static int replay(String prefix) throws IOException {
    int calls = 0;
    TorchGenerator generator = new TorchGenerator(0);
    for (Call call : golden()) {
      if (call.name.startsWith(prefix + "_")) {
        if (call.step == 0) {
          generator.seed(call.seed);
        }
        check(generator, call);
        calls++;
      }
    }
    return calls;
  }

  private static void check(TorchGenerator generator, Call call) {
    switch (call.function) {
      case "randint" -> {
        long low = Long.parseLong(call.first);
        long high = Long.parseLong(call.second);
        assertArrayEquals(longs(call), generator.randint(low, high, call.count), call.label());
      }
      case "randperm" ->
          assertArrayEquals(longs(call), generator.randperm(call.count), call.label());
      case "state" -> {
        byte[] want = new byte[call.count];
        call.want.get(want);
        assertArrayEquals(want, generator.state(), call.label());
      }
      default -> checkReal(generator, call);
    }
  }

  private static void checkReal(TorchGenerator generator, Call call) {
    boolean normal = call.function.equals("randn") || call.function.equals("normal");
    double first = Double.parseDouble(call.first);
    double second = Double.parseDouble(call.second);
    if (call.function.equals("rand") || call.function.equals("randn")) {
      second = 1;
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment got = arena.allocate(8L * call.count, 64);
      if (call.dtype.equals("F32")) {
        if (normal) {
          generator.fillNormal(got.address(), call.count, (float) first, (float) second);
        } else {
          generator.fillUniform(got.address(), call.count, (float) first, (float) second);
        }
        for (int i = 0; i < call.count; i++) {
          int want = call.want.getInt();
          int bits = got.getAtIndex(ValueLayout.JAVA_INT, i);
          assertEquals(want, bits, call.label() + " element " + i);
        }
      } else {
        if (normal) {
          generator.fillNormalF64(got.address(), call.count, first, second);
        } else {
          generator.fillUniformF64(got.address(), call.count, first, second);
        }
        for (int i = 0; i < call.count; i++) {
          long want = call.want.getLong();
          long bits = got.getAtIndex(ValueLayout.JAVA_LONG, i);
          long distance = Math.abs(want - bits);
          assertTrue(
              distance <= (normal ? MAX_ULP_F64 : 0),
              () -> call.label() + ": an element is " + distance + " last places away");
        }
      }
    }
  }

  private static long[] longs(Call call) {
    long[] out = new long[call.count];
    call.want.asLongBuffer().get(out);
    return out;
  }

  private static List<Call> golden() throws IOException {
    String index = new String(resource("calls.tsv"), StandardCharsets.UTF_8);
    ByteBuffer values = ByteBuffer.wrap(resource("values.bin"));
    List<Call> calls = new ArrayList<>();
    for (String line : index.lines().skip(2).toList()) {
      String[] f = line.split("\t");
      int offset = Integer.parseInt(f[8]);
      ByteBuffer want =
          values.slice(offset, values.limit() - offset).order(ByteOrder.LITTLE_ENDIAN);
      calls.add(
          new Call(
              f[0],
              Integer.parseInt(f[1]),
              Long.parseUnsignedLong(f[2]),
              f[3],
              f[4],
              Integer.parseInt(f[5]),
              f[6],
              f[7],
              want));
    }
    return calls;
  }

  private static byte[] resource(String name) throws IOException {
    try (InputStream in = TorchGeneratorTest.class.getResourceAsStream("/golden/rng/" + name)) {
      assertTrue(in != null, "missing resource golden/rng/" + name);
      return in.readAllBytes();
    }
  }
}
