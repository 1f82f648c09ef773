// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** The JIT compiler keeps the vectors of attention, convolution and group norm in registers. */
@Tag("slow")
class BoxedVectorsTest {
  @Test
  void inTheLongestVectors() throws Exception {
    assumeTrue(Simd.provider().name().startsWith("vector"), "no vectors here");
    assertEquals(19, ChildJvm.run(List.of("-Xmn64m"), BoxedVectors.class).size());
  }

  @Test
  void inVectorsOf256Bits() throws Exception {
    assumeTrue(Simd.provider().name().startsWith("vector"), "no vectors here");
    List<String> options = List.of("-Xmn64m", "-XX:UseAVX=2");
    assertEquals(19, ChildJvm.run(options, BoxedVectors.class).size());
  }
}
