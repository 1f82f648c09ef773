// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.classfile.Attributes;
import java.lang.classfile.ClassFile;
import java.lang.classfile.MethodModel;
import java.lang.classfile.attribute.CodeAttribute;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
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
    // options that other processors do not know are ignored there
    List<String> shorter =
        child(2000, "-XX:+IgnoreUnrecognizedVMOptions", "-XX:UseAVX=2", "-XX:UseSVE=0");
    assertEquals(withoutRows(child(1)), withoutRows(shorter));
  }

  private static List<String> withoutRows(List<String> lines) {
    return lines.stream().filter(line -> !line.startsWith(FunctionBits.ROW)).toList();
  }

  private static List<String> child(int times, String... options) throws Exception {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of("--add-modules", "jdk.incubator.vector"));
    command.addAll(List.of("--enable-native-access=ALL-UNNAMED", "-Dsfumato.simd=on"));
    command.addAll(List.of(options));
    command.addAll(List.of("-cp", System.getProperty("java.class.path")));
    command.addAll(List.of(FunctionBits.class.getName(), Integer.toString(times)));
    Process process =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start();
    List<String> lines;
    try (var reader = process.inputReader()) {
      lines = reader.lines().toList();
    }
    assertEquals(0, process.waitFor(), "exit status of " + command);
    return lines;
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

  /** The compiler would inline shorter loops into one method and run out of its budget there. */
  @Test
  void loopsOfPowersAreTooLongToBeInlined() throws Exception {
    Set<String> loops = Set.of("logarithms", "exponentials", "signed");
    try (var in = Simd.class.getResourceAsStream("simd/PowVectors.class")) {
      int found = 0;
      for (MethodModel method : ClassFile.of().parse(in.readAllBytes()).methods()) {
        CodeAttribute code = method.findAttribute(Attributes.code()).orElseThrow();
        if (loops.contains(method.methodName().stringValue())) {
          found++;
          assertTrue(code.codeLength() > 325, () -> method.methodName() + ": " + code.codeLength());
        }
      }
      assertEquals(loops.size(), found);
    }
  }
}
