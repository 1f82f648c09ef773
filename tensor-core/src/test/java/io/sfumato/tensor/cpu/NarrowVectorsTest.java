// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/**
 * The most important kernels on vectors as AVX2 has them, 16 registers of 256 bits, and NEON, 32 of
 * 128 bits; the profiles {@code vectors-256} and {@code vectors-128} run all tests so.
 */
class NarrowVectorsTest {
  @Test
  void asOnAvx2() throws Exception {
    kernels(256, "6 x 2", "-XX:UseAVX=2", "-XX:MaxVectorSize=32", "-Dsfumato.vector.registers=16");
  }

  @Test
  void asOnNeon() throws Exception {
    kernels(128, "6 x 4", "-XX:MaxVectorSize=16", "-Dsfumato.vector.registers=32");
  }

  private static void kernels(int bits, String tile, String... more) throws Exception {
    String name = Simd.provider().name();
    assumeTrue(name.startsWith("vector"), "no vectors here");
    int own = Integer.parseInt(name.replaceAll("\\D", ""));
    assumeTrue(own >= bits, "this processor has vectors of " + own + " bits");
    List<String> options = new ArrayList<>(List.of(more));
    options.add("-Dsfumato.test.vectors=" + bits);
    options.add("-XX:+UseSerialGC");
    List<String> lines = ChildJvm.run(options, KernelTests.class);
    assertEquals("vector, " + bits + " bits", lines.get(0));
    assertEquals(tile, lines.get(1));
    assertTrue(Integer.parseInt(lines.get(2)) > 80, lines::toString);
  }
}
