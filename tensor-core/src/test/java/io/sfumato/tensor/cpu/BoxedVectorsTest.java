// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** The JIT compiler keeps the vectors of the kernels in registers. */
@Tag("slow")
class BoxedVectorsTest {
  private static final int KERNELS =
      35 + 2 * (UnaryOp.values().length + UnaryGradient.values().length + BinaryOp.values().length);

  @Test
  void inTheLongestVectors() throws Exception {
    assumeTrue(Simd.provider().name().startsWith("vector"), "no vectors here");
    assertEquals(KERNELS, ChildJvm.run(List.of("-Xmn64m"), BoxedVectors.class).size());
  }

  @Test
  void inVectorsOf256Bits() throws Exception {
    assumeTrue(Simd.provider().name().startsWith("vector"), "no vectors here");
    List<String> options = List.of("-Xmn64m", "-XX:UseAVX=2");
    assertEquals(KERNELS, ChildJvm.run(options, BoxedVectors.class).size());
  }
}
