// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/**
 * Pointwise functions give the same bits in the interpreter, from either compiler, in vectors of
 * any length, at any place of a row, and whatever stands beside them.
 */
class FunctionBitsTest {
  @AfterEach
  void release() {
    NativeFloats.releaseAll();
  }

  @Test
  void compiledAsInterpreted() throws Exception {
    List<String> expected = child(1, "-Xint");
    assertTrue(expected.size() > 30, expected::toString);
    assertEquals(expected, child(30, "-XX:TieredStopAtLevel=1"), "client compiler");
    assertEquals(expected, child(3000), "server compiler");
  }

  @Test
  void inShorterVectors() throws Exception {
    List<String> expected = withoutRows(child(1));
    assertEquals(expected, withoutRows(child(2000, "-XX:UseAVX=2", "-XX:UseSVE=0")));
    assertEquals(expected, withoutRows(child(2000, "-XX:MaxVectorSize=16")));
  }

  private static List<String> withoutRows(List<String> lines) {
    return lines.stream().filter(line -> !line.startsWith(FunctionBits.ROW)).toList();
  }

  private static List<String> child(int times, String... options) throws Exception {
    return ChildJvm.run(List.of(options), FunctionBits.class, Integer.toString(times));
  }

  @Test
  void whereverTheyStand() {
    NativeFloats x = NativeFloats.random(100, 1, 0.5, 2);
    for (int i = 0; i < x.n; i += 7) {
      x.set(i, new float[] {Float.NaN, 0f, -1e6f, Float.MIN_VALUE, 3e38f}[i % 5]);
    }
    NativeFloats one = new NativeFloats(1);
    NativeFloats y = new NativeFloats(x.n);
    NativeFloats inPlace = new NativeFloats(x.n);
    ElementwiseLoops loops = Simd.provider().loops().elementwise();
    for (UnaryOp op : UnaryOp.values()) {
      loops.unary(op, x.address, y.address, x.n);
      Memory.copy(x.address, inPlace.address, 4L * x.n);
      loops.unary(op, inPlace.address, inPlace.address, x.n);
      for (int i = 0; i < x.n; i++) {
        one.set(0, x.get(i));
        loops.unary(op, one.address, one.address, 1);
        String what = op + "(" + x.get(i) + ")";
        assertEquals(y.get(i), one.get(0), what + " alone");
        assertEquals(y.get(i), inPlace.get(i), what + " in place");
      }
    }
    NativeFloats e = NativeFloats.random(x.n, 2, 0, 3);
    loops.binary(BinaryOp.POW, x.address, e.address, y.address, x.n);
    for (int i = 0; i < x.n; i++) {
      String what = x.get(i) + "^" + e.get(i);
      one.set(0, x.get(i));
      loops.binaryRight(BinaryOp.POW, one.address, e.get(i), one.address, 1);
      assertEquals(y.get(i), one.get(0), what + " to a number");
      one.set(0, e.get(i));
      loops.binaryLeft(BinaryOp.POW, x.get(i), one.address, one.address, 1);
      assertEquals(y.get(i), one.get(0), what + " of a number");
    }
    loops.binary(BinaryOp.POW, x.address, e.address, e.address, x.n);
    for (int i = 0; i < x.n; i++) {
      assertEquals(y.get(i), e.get(i), "in place of the exponents");
    }
  }
}
