// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.classfile.Attributes;
import java.lang.classfile.ClassFile;
import java.lang.classfile.MethodModel;
import java.lang.classfile.attribute.CodeAttribute;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The compiler inlines methods of up to 325 bytecodes where they are called often. These would make
 * it run out of its budget in some callers, in an order that differs from one JVM to the next; then
 * vectors are boxed, and accesses to native memory are calls. They are longer, so that each is
 * compiled by itself.
 */
class LongMethodsTest {
  private static final int LONGEST_INLINED = 325;

  @ParameterizedTest
  @CsvSource({
    "simd/PowVectors, logarithms exponentials signed",
    "simd/ExpVectors, addVectors",
    "simd/VectorAttentionLoops, gradientVectors",
    "Panels, scalarTranspose"
  })
  void areNotInlined(String type, String methods) throws Exception {
    Set<String> expected = Set.of(methods.split(" "));
    Set<String> found = new TreeSet<>();
    try (var in = Simd.class.getResourceAsStream(type + ".class")) {
      for (MethodModel method : ClassFile.of().parse(in.readAllBytes()).methods()) {
        String name = method.methodName().stringValue();
        if (expected.contains(name)) {
          found.add(name);
          CodeAttribute code = method.findAttribute(Attributes.code()).orElseThrow();
          assertTrue(code.codeLength() > LONGEST_INLINED, () -> name + ": " + code.codeLength());
        }
      }
    }
    assertEquals(expected, found);
  }
}
