// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

class SimdTest {
  @Test
  void keepsItsChoice() {
    assertSame(Simd.provider(), Simd.provider());
    assertNotNull(Simd.provider().name());
  }

  @Test
  void obeysTheSetting() {
    assertEquals("scalar", Simd.choose("off").name());
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> Simd.choose("maybe"));
    assertEquals("system property sfumato.simd must be on or off; got maybe", e.getMessage());
  }
}
