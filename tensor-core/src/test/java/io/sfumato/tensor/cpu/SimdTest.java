// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class SimdTest {
  private static final String REGISTERS = "sfumato.vector.registers";
  private static final String CODE = "sfumato.machine.code";

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

  /**
   * What the profiles {@code vectors-128} and {@code vectors-256} ask for must be what is tested.
   */
  @Test
  void hasTheVectorsThatTheBuildAskedFor() {
    String bits = System.getProperty("sfumato.test.vectors");
    String name = Simd.provider().name();
    assertTrue(bits == null || name.equals("vector, " + bits + " bits"), bits + ": " + name);
  }

  @Test
  void tilesFitTheRegisters() {
    String before = System.getProperty(REGISTERS);
    try {
      System.setProperty(REGISTERS, "16");
      GemmTile few = Simd.choose("on").gemmTile();
      assertEquals("6 x 2", few.maxRows() + " x " + few.maxVectors());
      System.setProperty(REGISTERS, "32");
      GemmTile many = Simd.choose("on").gemmTile();
      assertEquals("6 x 4", many.maxRows() + " x " + many.maxVectors());
      System.setProperty(REGISTERS, "15");
      IllegalArgumentException e =
          assertThrows(IllegalArgumentException.class, () -> Simd.choose("on"));
      assertEquals(
          "system property sfumato.vector.registers must be 16 or 32; got 15", e.getMessage());
      System.setProperty(REGISTERS, "32");
      System.setProperty(CODE, "on");
      e = assertThrows(IllegalArgumentException.class, () -> Simd.choose("on"));
      assertEquals(
          "system property sfumato.vector.registers is about tiles that sfumato.machine.code=on"
              + " replaces; set one of them",
          e.getMessage());
    } finally {
      System.clearProperty(CODE);
      if (before == null) {
        System.clearProperty(REGISTERS);
      } else {
        System.setProperty(REGISTERS, before);
      }
    }
  }
}
